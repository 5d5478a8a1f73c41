"""Freezing the generator at task boundaries."""

import lightning.pytorch as pl

from mergan.acgan import ACGAN


class GeneratorSnapshot(pl.Callback):
    """Copies the generator into the module's frozen snapshot when a task's last epoch is over.

    With weight averaging it copies the averaged generator. It runs before the checkpoint of that
    epoch is written, so a resumed task finds the snapshot that the uninterrupted one had.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the snapshot, in the last epoch of a task."""
        assert isinstance(pl_module, ACGAN)
        if trainer.current_epoch == pl_module.task.last_epoch:
            pl_module.snapshot.load_state_dict(pl_module.sampler.state_dict())
