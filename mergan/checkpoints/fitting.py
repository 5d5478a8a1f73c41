"""Check that the tensors of a checkpoint fit the networks, and prepare its content for Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from mergan.system.errors import CheckpointError, ConfigError

MOMENTS = ("exp_avg", "exp_avg_sq")  # what Adam keeps for each weight, besides the step count


@runtime_checkable
class ChecksItsState(Protocol):
    """A module that can check the values of its own state, as strategies do."""

    def check_state(self) -> None:
        """Refuse values that no run can produce; see mergan.strategies.Strategy."""


def restore(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load `state` into `module`, key by key.

    Raises:
        CheckpointError: the state is of another network, or holds values that are not finite.
    """
    check_fit(module, state, path)
    module.load_state_dict(state)
    for name, part in module.named_modules():
        if isinstance(part, ChecksItsState):
            try:
                part.check_state()
            except ConfigError as error:
                raise CheckpointError(f"checkpoint {path}: {name or 'strategy'}: {error}") from error


def check_fit(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a state that does not belong to this module. The module may be on the meta device.

    Raises:
        CheckpointError: as `restore`.
    """
    wrong = misfit(module.state_dict(), state)
    if wrong:
        raise CheckpointError(f"checkpoint {path}: of another network ({wrong})")


def misfit(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """The first difference in form between a state dict and a module's own, "" if there is none."""
    for key in own.keys() ^ state.keys():
        return f"{key} is {'missing' if key in own else 'not known here'}"
    for key, expected in own.items():
        wrong = _differs(state[key], expected)
        if wrong:
            return f"{key} {wrong}"
    return ""


def _differs(value: Any, expected: Tensor) -> str:
    if not isinstance(value, Tensor):
        return "is not a tensor"
    if value.shape != expected.shape:
        return f"is {tuple(value.shape)}, here {tuple(expected.shape)}"
    if value.dtype != expected.dtype:
        return f"is of {value.dtype}, here of {expected.dtype}"
    if value.is_floating_point() and not bool(value.isfinite().all()):
        return "holds values that are not finite"
    return ""


def for_lightning(content: Mapping[str, Any], module: pl.LightningModule, trainer: pl.Trainer, batches: int,
                  path: Path) -> dict[str, Any]:  # fmt: skip
    """The content that the trainer restores from a checkpoint whose networks fit; all of it is checked.

    The state of Lightning's loops follows from epoch and step, since checkpoints are written at the ends of
    epochs. Optimizer settings come from the configuration, so that changed settings take effect.

    Args:
        content: the checkpoint.
        module: the freshly built module.
        trainer: the freshly built trainer.
        batches: number of batches in the checkpoint's last epoch.
        path: path of the checkpoint, for messages.

    Raises:
        CheckpointError: the states of the optimizers do not fit.
    """
    optimizers: Any = module.configure_optimizers()
    states = content["optimizer_states"]
    if len(states) != len(optimizers):
        raise CheckpointError(
            f"checkpoint {path}: it has {len(states)} optimizers, here are {len(optimizers)}"
        )
    return {
        "epoch": content["epoch"],
        "global_step": content["global_step"],
        "pytorch-lightning_version": pl.__version__,
        "state_dict": content["state_dict"],
        "loops": {"fit_loop": _loops(trainer, content["epoch"], content["global_step"], batches)},
        "callbacks": content["callbacks"],
        "optimizer_states": [
            {
                "state": _moments(state.get("state"), optimizer, path),
                "param_groups": optimizer.state_dict()["param_groups"],
            }
            for state, optimizer in zip(states, optimizers, strict=True)
        ],
        "lr_schedulers": [],
    }


def _loops(trainer: pl.Trainer, epoch: int, step: int, batches: int) -> dict[str, Any]:
    """The state of the fit loop at the end of an epoch, before Lightning counts the epoch as completed."""
    state = trainer.fit_loop.state_dict()
    state["epoch_loop.state_dict"] = {"_batches_that_stepped": step}
    state["epoch_loop.batch_progress"] = {
        "total": dict.fromkeys(("ready", "completed", "started", "processed"), step),
        "current": dict.fromkeys(("ready", "completed", "started", "processed"), batches),
        "is_last_batch": True,
    }
    state["epoch_loop.manual_optimization.optim_step_progress"] = {
        part: {"ready": step, "completed": step} for part in ("total", "current")
    }
    begun = dict.fromkeys(("ready", "started", "processed"), epoch + 1)
    state["epoch_progress"] = {part: {**begun, "completed": epoch} for part in ("total", "current")}
    return state


def _moments(state: Any, optimizer: torch.optim.Optimizer, path: Path) -> dict[int, dict[str, Tensor]]:
    """Adam's state by the index of the weight."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if not isinstance(state, Mapping):
        raise CheckpointError(f"checkpoint {path}: the state of an optimizer is missing or of another type")
    for index, of_weight in state.items():
        if type(index) is not int or not 0 <= index < len(weights):
            raise CheckpointError(f"checkpoint {path}: an optimizer has a state of weight {index!r}")
        expected = dict.fromkeys(MOMENTS, weights[index].detach()) | {"step": torch.zeros(())}
        found = of_weight if isinstance(of_weight, Mapping) else {}
        wrong = misfit(expected, found)
        if wrong or found["step"] < 1:
            raise CheckpointError(
                f"checkpoint {path}: the state of an optimizer does not fit ({wrong or 'step below 1'})"
            )
    return dict(state)
