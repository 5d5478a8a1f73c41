"""Grids of images: a row per class, with its name; real images of the class may stand below, smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mergan.output import lettering
from mergan.output.plots.style import FAINT, FRAME, INK, MARGIN, PAPER, SMALL, TEXT, TITLE, width, write

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MOST_ROWS = 100  # classes in a grid
SMALLEST, LARGEST = 48, 96  # side of an image in pixels
GAP = 2  # pixels between two images
NAME = 28  # characters of a class's name
LEGEND = "large: generated images; small: real training images"


@dataclass(frozen=True)
class Row:
    """The row of a class.

    Attributes:
        name: of the class.
        images: uint8 (n, C, S, S); without images (n = 0) the place of the row stays empty.
        note: a second line below the name.
        real: uint8 (m, C, S, S), real images of the class, drawn in half the size below the others, as many
            as the row has room for.
    """

    name: str
    images: np.ndarray
    note: str = ""
    real: np.ndarray | None = None


def samples(
    generate: Callable[[Tensor, Tensor], Tensor],
    classes: Sequence[int],
    columns: int,
    latent_dim: int,
    seed: int,
) -> np.ndarray:
    """Generated images of each class, from the same z.

    Args:
        generate: z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1].
        classes: the classes.
        columns: images per class.
        latent_dim: size of z.
        seed: seed of z.

    Returns:
        uint8 (classes, columns, C, S, S).
    """
    import torch  # here, because the report draws without it

    z = torch.randn(columns, latent_dim, generator=torch.Generator().manual_seed(seed))
    rows = [generate(z, torch.full((columns,), label)).cpu().numpy() for label in classes]
    return ((np.stack(rows).clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)


def grid(rows: Sequence[Row], title: str = "", total: int | None = None) -> np.ndarray:
    """Draw rows of images below each other, at most `MOST_ROWS`.

    Images smaller than `SMALLEST` are enlarged by an even factor, so that every pixel stays square in half
    the size too; images larger than `LARGEST` are reduced.

    Args:
        rows: the rows; all images have one size.
        title: a line above them.
        total: number of classes, if there are more than rows; None: as many as rows.

    Returns:
        A picture uint8 (H, W, 3).
    """
    from PIL import Image, ImageDraw

    shown = rows[:MOST_ROWS]
    names = [lettering.label(row.name, number, NAME) for number, row in enumerate(shown)]
    legend = LEGEND if any(row.real is not None for row in shown) else ""
    size = shown[0].images.shape[-1]
    side = _side(size)
    left = 3 * MARGIN + max(
        *(width(name, TEXT) for name in names), *(width(row.note, SMALL) for row in shown)
    )
    across = max(len(row.images) for row in shown) * (side + GAP) + GAP
    strips = [_strips(row, side, across) for row in shown]
    heading = _heading(title, legend)
    more = (total or len(rows)) - len(shown)
    missing = f"and {more:,} classes more" if more else ""
    foot = TEXT + MARGIN if missing else 0
    bottom = heading + sum(strip.height + MARGIN for strip in strips)
    broad = max(left + across, MARGIN + width(title, TITLE), MARGIN + width(legend, SMALL)) + MARGIN
    picture = Image.new("RGB", (broad, bottom + foot), PAPER)
    draw = ImageDraw.Draw(picture)
    write(draw, (MARGIN, MARGIN), title, TITLE)
    write(draw, (MARGIN, heading - MARGIN), legend, SMALL, FAINT, "ls")
    top = heading
    for row, name, strip in zip(shown, names, strips, strict=True):
        if len(row.images):
            picture.paste(strip, (left, top))
            middle = top + (side + 2 * GAP) // 2
            write(draw, (MARGIN, middle - 1), name, TEXT, INK, "ls")
            write(draw, (MARGIN, middle + 4), row.note, SMALL, FAINT)
        top += strip.height + MARGIN
    write(draw, (MARGIN, bottom), missing, TEXT, FAINT)
    return np.asarray(picture)


def _side(size: int) -> int:
    """Side in pixels of an image that has `size`."""
    factor = 1 if size >= SMALLEST else 2 * -(-SMALLEST // (2 * size))
    return min(factor * size, LARGEST)


def _heading(title: str, legend: str) -> int:
    """Height of the lines above the first row."""
    lines = [pixels for text, pixels in ((title, TITLE), (legend, SMALL)) if text]
    return MARGIN + sum(pixels + MARGIN for pixels in lines)


def _strips(row: Row, side: int, across: int) -> Image:
    """The images of a row, and real ones below."""
    from PIL import Image

    strips = [_strip(row.images, side, across)]
    if row.real is not None:
        small = side // 2
        strips.append(_strip(row.real[: (across - GAP) // (small + GAP)], small, across))
    height = sum(strip.height for strip in strips) - GAP * (len(strips) - 1)
    joined = Image.new("RGB", (across, height), PAPER)
    bottom = height
    for strip in reversed(strips):  # the upper frame covers the lower one, which may be shorter
        joined.paste(strip, (0, bottom - strip.height))
        bottom -= strip.height - GAP
    return joined


def _strip(images: np.ndarray, side: int, across: int) -> Image:
    """Images uint8 (n, C, S, S) side by side in a light frame, on white up to the width `across`."""
    from PIL import Image

    strip = Image.new("RGB", (across, side + 2 * GAP), PAPER)
    strip.paste(FRAME, (0, 0, len(images) * (side + GAP) + GAP, side + 2 * GAP))
    for column, image in enumerate(images):
        strip.paste(_tile(image, side), (GAP + column * (side + GAP), GAP))
    return strip


def _tile(image: np.ndarray, side: int) -> Image:
    """An image uint8 (C, S, S) with sides of `side` pixels; without interpolation where it is enlarged."""
    from PIL import Image

    colours = np.repeat(image[:1], 3, axis=0) if len(image) < 3 else image[:3]
    tile = Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0)))
    method = Image.Resampling.NEAREST if side >= image.shape[-1] else Image.Resampling.BOX
    return tile.resize((side, side), method)


def side_by_side(pictures: Mapping[str, Path]) -> np.ndarray:
    """Pictures from files, side by side, each under its name; none is enlarged or reduced."""
    from PIL import Image, ImageDraw

    opened = []
    for path in pictures.values():
        with Image.open(path) as file:
            opened.append(file.convert("RGB"))
    names = [lettering.label(name, number, 60) for number, name in enumerate(pictures)]
    widths = [
        max(image.width, 2 * MARGIN + width(name, TEXT)) for image, name in zip(opened, names, strict=True)
    ]
    above = 2 * MARGIN + TEXT
    whole = Image.new("RGB", (sum(widths), above + max(image.height for image in opened)), PAPER)
    draw = ImageDraw.Draw(whole)
    left = 0
    for image, name, broad in zip(opened, names, widths, strict=True):
        write(draw, (left + MARGIN, MARGIN), name, TEXT)
        whole.paste(image, (left, above))
        left += broad
    return np.asarray(whole)
