"""Where a training may be stopped by a signal."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from mergan.system import interrupts


class StopBetweenSteps(pl.Callback):
    """Lets a signal that has arrived end the run before the next step."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look whether there is one."""
        interrupts.check()
