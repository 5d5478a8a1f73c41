"""Pictures of what the generator has learned."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl

from mergan.config.ranges import check_counts
from mergan.learners import ContinualLearner, TaskCallback
from mergan.output import plots
from mergan.output.folder import RunFolder
from mergan.system.errors import ConfigError


class SampleGrid(TaskCallback):
    """Saves `samples/task_NN.png` after each task: one row per class seen, the same z in each row and
    in every picture of the run, and hands it to TensorBoard.

    Args:
        columns: images per class.
        seed: seed of z.

    Raises:
        ConfigError: no columns, or a seed out of range.
    """

    def __init__(self, columns: int = 10, seed: int = 0) -> None:
        check_counts("callbacks.samples", columns=columns)
        if not 0 <= seed < 2**63:
            raise ConfigError(f"callbacks.samples.seed={seed}: use a whole number from 0 to below 2^63")
        self.columns = columns
        self.seed = seed

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Draw the grid."""
        if not trainer.is_global_zero:
            return
        task = learner.task
        grid = plots.sample_grid(
            learner.generate, sorted(task.seen), self.columns, learner.latent_dim, self.seed
        )
        plots.save_png(grid, RunFolder(Path(trainer.default_root_dir)).grid(task.index))
        plots.to_tensorboard(trainer.loggers, "samples", lambda: grid, trainer.global_step)
