"""A picture of the decoded real images, to check before the training takes time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import numpy as np

from mergan.config.ranges import Count
from mergan.data.image_set import ImageSet
from mergan.data.pool import ImagePool
from mergan.output import plots
from mergan.output.folder import RunFolder


class RealGrid(pl.Callback):
    """Saves `samples/real.png` before training begins; an existing file is kept.

    Each class has a row with its name, its number of images, and some training images.

    Args:
        columns: images per class.
    """

    def __init__(self, columns: Count) -> None:
        self.columns = columns

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the grid."""
        path = RunFolder(Path(trainer.default_root_dir)).real_grid
        if trainer.is_global_zero and not path.is_file():
            pool: ImagePool = trainer.datamodule.pool  # type: ignore[attr-defined]
            plots.save_png(real_grid(pool.train_set, pool.class_names, self.columns), path)


def real_grid(images: ImageSet, names: Sequence[str], columns: int) -> np.ndarray:
    """Draw the first images of each class, in the order of the labels, for at most `plots.MOST_ROWS` classes.

    Returns:
        A picture uint8 (H, W, 3).
    """
    counts = np.bincount(images.labels, minlength=len(names))
    rows = [
        plots.Row(
            name,
            images.take(np.flatnonzero(images.labels == label)[:columns])[0],
            note=f"{counts[label]:,} image{'s' if counts[label] != 1 else ''}",
        )
        for label, name in enumerate(names[: plots.MOST_ROWS])
    ]
    return plots.grid(rows, "real training images", total=len(names))
