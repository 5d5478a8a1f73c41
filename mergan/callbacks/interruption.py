"""Lets a signal stop the training between steps."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from mergan.system import interrupts


class StopBetweenSteps(pl.Callback):
    """Ends the run before the next step if a signal has arrived."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle SIGTERM in several processes as in one."""
        if trainer.world_size > 1:
            interrupts.take_back()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Check for a signal."""
        interrupts.check()
