"""Checks whether a backward pass must go through Lightning."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden

HOOKS = ("on_before_backward", "on_after_backward")


def takes_part_in_backward(trainer: pl.Trainer) -> bool:
    """Whether a backward pass must go through `manual_backward`.

    It must if there are several processes, if the loss is scaled, or if the module or a callback overrides
    a backward hook. Lightning calls the hooks of every callback before and after each pass, even empty
    ones. With two passes per step that takes 2 % of a default step.
    """
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        return True
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        return True
    module, callbacks = trainer.lightning_module, trainer.callbacks  # type: ignore[attr-defined]
    return (
        is_overridden("backward", module, pl.LightningModule)
        or any(is_overridden(hook, module, pl.LightningModule) for hook in HOOKS)
        or any(is_overridden(hook, callback, pl.Callback) for hook in HOOKS for callback in callbacks)
    )
