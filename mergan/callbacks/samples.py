"""Sample grids of the generator."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl

from mergan.config.ranges import Count, Whole
from mergan.learners import ContinualLearner, TaskCallback
from mergan.output import plots
from mergan.output.folder import RunFolder
from mergan.output.handing import hand_picture


class SampleGrid(TaskCallback):
    """Saves `samples/task_NN.png` after each task and hands it to the loggers.

    There is one row per class seen. All rows and all pictures of the run use the same z.

    Args:
        columns: images per class.
        seed: seed of z.
    """

    def __init__(self, columns: Count, seed: Whole) -> None:
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
        hand_picture(trainer.loggers, "samples", lambda: grid, trainer.global_step)
