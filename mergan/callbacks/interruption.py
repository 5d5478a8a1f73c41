"""Lets a signal stop the training between steps."""

from __future__ import annotations

import signal
from typing import Any

import lightning.pytorch as pl

from mergan.system import interrupts


class StopBetweenSteps(pl.Callback):
    """Ends the run before the next step if a signal has arrived.

    Who started the program may handle SIGTERM in another way (mergan.cli.slurm_job). Lightning would then
    end the run nevertheless, so that its handler is removed.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remember a handler that is not this program's. Lightning has not set its own yet."""
        self._sigterm = signal.getsignal(signal.SIGTERM) if interrupts.is_foreign(signal.SIGTERM) else None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set that handler again."""
        if self._sigterm is not None:
            signal.signal(signal.SIGTERM, self._sigterm)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Check for a signal."""
        interrupts.check()
