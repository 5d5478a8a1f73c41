"""The same latents through all tasks (the paper's figure 5)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from mergan.output import lettering, plots
from mergan.reporting.drawing import webp
from mergan.reporting.page import Film
from mergan.reporting.walk import LATENTS, Walk
from mergan.system.text import shown

MOST_CLASSES = 10  # rows
UNSEEN = 235  # shade of a class that is still to come
LARGEST = 48  # side of an image in the page; larger ones are averaged
QUALITY = 80  # of WebP
FRAME, LAST = 900, 2500  # milliseconds of a frame, and of the last one


def film(label: str, walked: Walk, link: str) -> tuple[Film, bytes]:
    """A run's latents through its tasks.

    Args:
        label: the name of the run.
        walked: what its generators made.
        link: the animated file, as seen from the page.

    Returns:
        What the page shows, and the content of the animated file.
    """
    classes = list(dict.fromkeys(label for each in walked.latents for label in each))  # as they were learned
    kept = classes[:MOST_CLASSES]
    names = [walked.class_names[each] for each in kept]
    stills = [_still(images, kept) for images in walked.latents]
    frames = [webp(_sheet(still), QUALITY) for still in stills]
    height, width = _sheet(stills[0]).shape[:2]
    left_out = len(classes) - len(kept)
    text = f"rows are the classes {', '.join(map(shown, names))}, columns {LATENTS} latents"
    title = f"{label} (the first {len(kept)} of {len(classes)} classes)" if left_out else label
    total = len(stills)
    drawn = [
        plots.grid(
            [plots.Row(name, row) for name, row in zip(names, still, strict=True)],
            f"{lettering.label(label, 0, 60)}, after task {task} of {total}",
        )
        for task, still in enumerate(stills, start=1)
    ]
    return Film(title, names, frames, (width, height), text, link), _animated(drawn)


def _still(images: Mapping[int, np.ndarray], classes: Sequence[int]) -> np.ndarray:
    """uint8 (classes, LATENTS, C, S, S); classes that are still to come are of one shade."""
    blank = np.full_like(next(iter(images.values())), UNSEEN)
    return np.stack([images.get(label, blank) for label in classes])


def _sheet(images: np.ndarray) -> np.ndarray:
    """uint8 (rows, columns, C, S, S) -> a picture (rows * S, columns * S, 3) without gaps."""
    rows, columns, channels, size, _ = images.shape
    colours = np.repeat(images[:, :, :1], 3, axis=2) if channels < 3 else images[:, :, :3]
    sheet = colours.transpose(0, 3, 1, 4, 2).reshape(rows * size, columns * size, 3)
    if size <= LARGEST:
        return sheet
    small = Image.fromarray(sheet).resize((columns * LARGEST, rows * LARGEST), Image.Resampling.BOX)
    return np.asarray(small)


def _animated(pictures: Sequence[np.ndarray]) -> bytes:
    """An animated WebP of pictures."""
    buffer = io.BytesIO()
    durations = [FRAME] * (len(pictures) - 1) + [LAST]
    plots.save_animation(pictures, durations, buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()
