"""Freezing the generator at task boundaries."""

import lightning.pytorch as pl

from mergan.learners.acgan import ACGAN


class GeneratorSnapshot(pl.Callback):
    """Concludes a task when its last epoch is over: the generator is copied into the module's frozen
    snapshot (with weight averaging: the averaged generator), and the strategy takes its leave.

    It is the first callback of a run: the evaluation's clock still runs, what the strategy then
    samples with is what is judged, and the checkpoint of that epoch holds both, so that a resumed
    run finds what the uninterrupted one had.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Conclude the task, in its last epoch."""
        assert isinstance(pl_module, ACGAN)
        if trainer.current_epoch == pl_module.task.last_epoch:
            pl_module.end_task()
