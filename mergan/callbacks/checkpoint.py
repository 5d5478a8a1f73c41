"""Writes checkpoints, and adds this project's data to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint

from mergan.checkpoints.contents import FORMAT, KEY
from mergan.config.ranges import Count, Whole
from mergan.data.pool import ImagePool
from mergan.learners import ContinualLearner
from mergan.output.folder import RunFolder
from mergan.system.version import VERSION


class StreamCheckpoint(Checkpoint):
    """Writes `checkpoints/last.ckpt` at the end of epochs and `checkpoints/task_NN.ckpt` after tasks.

    Args:
        every_n_epochs: write `last.ckpt` every so many epochs; the last epoch of a task always writes it.
        keep_tasks: how many `task_NN.ckpt` to keep, the latest ones; None: all.
        config: the resolved configuration.
        links: how the configuration was composed, see mergan.config.links.
    """

    def __init__(
        self,
        every_n_epochs: Count,
        config: Mapping[str, Any],
        links: Mapping[str, str],
        keep_tasks: Whole | None = None,
    ) -> None:
        self.every_n_epochs, self.keep_tasks = every_n_epochs, keep_tasks
        self.config, self.links = dict(config), dict(links)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the checkpoints. Lightning calls this last, so the other callbacks' state is complete."""
        assert isinstance(pl_module, ContinualLearner)
        task, epoch = pl_module.task, trainer.current_epoch
        folder = RunFolder(Path(trainer.default_root_dir))
        if epoch == task.last_epoch:
            self._save_task(trainer, folder, task.index)
        if epoch == task.last_epoch or (epoch + 1) % self.every_n_epochs == 0:
            for logger in trainer.loggers:
                logger.save()  # the part of the logs that a resumed run keeps must be on disk
            trainer.save_checkpoint(folder.last, weights_only=False)

    def _save_task(self, trainer: pl.Trainer, folder: RunFolder, task: int) -> None:
        kept = task + 1 if self.keep_tasks is None else self.keep_tasks
        if kept:
            trainer.save_checkpoint(folder.checkpoint(task), weights_only=False)
        for old, path in folder.task_checkpoints.items():
            if old <= task - kept:
                path.unlink()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the data needed to rebuild the networks without the run folder."""
        assert isinstance(pl_module, ContinualLearner)
        pool: ImagePool = trainer.datamodule.pool  # type: ignore[attr-defined]
        checkpoint[KEY] = {
            "format": FORMAT,
            "version": VERSION,
            "config": self.config,
            "links": self.links,
            "class_names": list(pool.class_names),
            "data": pool.description(),
            "seen": list(pl_module.task.seen),
            "known": list(pl_module.scenario.tasks[0].before),
            "threads": torch.get_num_threads(),
        }
