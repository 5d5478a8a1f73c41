"""A picture of the decoded real images, to check before the training takes time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
from PIL import Image, ImageDraw

from mergan.config.ranges import Count
from mergan.data.image_set import ImageSet
from mergan.data.pool import ImagePool
from mergan.output import lettering, plots
from mergan.output.folder import RunFolder

MOST_CLASSES = 100  # maximum number of rows of the picture
# Side of an image in the picture, in pixels: smaller images are enlarged, larger ones reduced.
SMALLEST, LARGEST = 32, 64
MARGIN, TEXT, SMALL = 8, 13, 10  # pixels; the last two are font heights
GAP = 2
INK, FAINT, FRAME = (30, 30, 30), (120, 120, 120), (225, 225, 225)


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
    """Draw the first images of each class, in the order of the labels, for at most `MOST_CLASSES` classes.

    Returns:
        A picture uint8 (H, W, 3).
    """
    names = names[:MOST_CLASSES]
    counts = np.bincount(images.labels, minlength=len(names))
    labels = [lettering.label(name, label, 28) for label, name in enumerate(names)]
    below = [f"{count:,} image{'s' if count != 1 else ''}" for count in counts[: len(names)]]
    left = 3 * MARGIN + int(
        max(
            *(lettering.font(TEXT).getlength(label) for label in labels),
            *(lettering.font(SMALL).getlength(line) for line in below),
        )
    )
    rows = [
        _row(images.take(np.flatnonzero(images.labels == label)[:columns])[0], columns)
        for label in range(len(names))
    ]
    height, width = rows[0].shape[:2]
    missing = len(counts) - len(names)
    foot = 2 * MARGIN + TEXT if missing else MARGIN
    picture = Image.new("RGB", (left + width + MARGIN, MARGIN + height * len(rows) + foot), "white")
    draw = ImageDraw.Draw(picture)
    for index, (row, label, line) in enumerate(zip(rows, labels, below, strict=True)):
        top = MARGIN + index * height
        picture.paste(Image.fromarray(row), (left, top))
        middle = top + height // 2
        draw.text((MARGIN, middle - 1), label, INK, lettering.font(TEXT), anchor="ls")
        draw.text((MARGIN, middle + 3), line, FAINT, lettering.font(SMALL), anchor="lt")
    if missing:
        text = f"and {missing:,} classes more"
        draw.text(
            (MARGIN, MARGIN + height * len(rows) + MARGIN), text, FAINT, lettering.font(TEXT), anchor="lt"
        )
    return np.asarray(picture)


def _row(images: np.ndarray, columns: int) -> np.ndarray:
    """Draw images uint8 (n, C, S, S) side by side on white, with room for `columns`: (H, W, 3)."""
    size = images.shape[-1]
    # Enlarged by an integer factor, so that every pixel stays square.
    side = min(size * -(-SMALLEST // size), LARGEST)
    step = side + GAP
    row = Image.new("RGB", (columns * step + GAP, step + 2 * GAP), "white")
    row.paste(FRAME, (0, 0, len(images) * step + GAP, step + GAP))
    for column, image in enumerate(images):
        shown = np.repeat(image, 3, axis=0) if len(image) == 1 else image
        tile = Image.fromarray(np.ascontiguousarray(shown.transpose(1, 2, 0)))
        method = Image.Resampling.NEAREST if side >= size else Image.Resampling.BOX
        row.paste(tile.resize((side, side), method), (GAP + column * step, GAP))
    return np.asarray(row)
