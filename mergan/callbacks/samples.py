"""Sample grids of the generator."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import numpy as np

from mergan.config.ranges import Count, Whole
from mergan.data.image_set import ImageSet
from mergan.data.pool import ImagePool
from mergan.learners import ContinualLearner, TaskCallback
from mergan.output import plots
from mergan.output.folder import RunFolder
from mergan.output.handing import hand_picture

REAL = 2  # real images per generated one; they are drawn in half the size


class SampleGrid(TaskCallback):
    """Saves `samples/task_NN.png` after each task and hands it to the loggers.

    There is one row per class seen, with its name and the task that brought it. All rows and all pictures of
    the run use the same z. Real training images stand below each row.

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
        picture = self._drawn(learner, trainer.datamodule.pool)  # type: ignore[attr-defined]
        plots.save_png(picture, RunFolder(Path(trainer.default_root_dir)).grid(task.index))
        hand_picture(trainer.loggers, "samples", lambda: picture, task.index + 1)

    def _drawn(self, learner: ContinualLearner, pool: ImagePool) -> np.ndarray:
        task, tasks = learner.task, learner.scenario.tasks
        classes = sorted(task.seen)
        images = plots.samples(learner.generate, classes, self.columns, learner.latent_dim, self.seed)
        first = {label: each.index + 1 for each in reversed(tasks) for label in each.classes}
        rows = [
            plots.Row(
                pool.class_names[label],
                own,
                note=f"task {first[label]}" if label in first else "known before",
                real=_first_images(pool.train_set, label, REAL * self.columns),
            )
            for label, own in zip(classes[: plots.MOST_ROWS], images, strict=False)
        ]
        return plots.grid(rows, f"after task {task.index + 1} of {len(tasks)}", total=len(classes))


def _first_images(images: ImageSet, label: int, count: int) -> np.ndarray | None:
    """The first images of a class, uint8 (n, C, S, S); None if there is none."""
    found = np.flatnonzero(images.labels == label)[:count]
    return images.take(found)[0] if len(found) else None
