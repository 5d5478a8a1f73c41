"""Looks at some pictures of a folder, and says which shape suits all of them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from mergan.data import decoding, opening
from mergan.data.source import Choice
from mergan.system.text import shown

# Pictures to look at: at most this many of a class and of all classes, but one of each class. Only the
# header of a picture is read for its size; for its colours all of it is decoded.
SIZES_PER_CLASS, SIZES = 100, 2000
COLOURS_PER_CLASS, COLOURS = 20, 200

# The shorter side may be this much smaller than the chosen size: digits of 28 pixels become 32.
ENLARGED = 1.25
AUTOMATIC_SIZES = (64, 32, 16)  # a step with 128 takes over four times as long: only if asked for

# A picture has colour if red, green and blue differ by more than this in more than this share of it. Grey
# pictures differ by 0 after JPEG and by 1 after WebP, at any quality.
DIFFERENCE = 8  # of 255
SHARE = 0.01
LOOKED_AT = 64  # pixels of the side at which colours are looked at


def image_size(classes: Sequence[Sequence[str]]) -> Choice:
    """The largest of 16, 32 and 64 that is at most a quarter above the median of the shorter sides.

    The smallest is 16, whatever the pictures are.

    Args:
        classes: the paths of the pictures of each class.

    Raises:
        DataError: a header cannot be read.
    """
    with opening.guarded():
        sides = [opening.shorter_side(path) for path in _sample(classes, SIZES_PER_CLASS, SIZES)]
    median = statistics.median(sides)
    size = next((size for size in AUTOMATIC_SIZES if size <= ENLARGED * median), AUTOMATIC_SIZES[-1])
    return Choice(size, f"half of the pictures have a shorter side of {median:g} pixels or more")


def channels(classes: Sequence[Sequence[str]], decoder: decoding.Decoder, root: Path) -> Choice:
    """3 if a picture has colour, else 1; the first one with colour ends the search.

    Args:
        classes: the paths of the pictures of each class.
        decoder: how they are decoded, in any number of channels.
        root: their folder, for the message.

    Raises:
        DataError: a picture cannot be decoded.
    """
    colourful = replace(decoder, channels=3)
    paths = _sample(classes, COLOURS_PER_CLASS, COLOURS)
    with opening.guarded():
        for path in paths:
            if has_colour(colourful.decode(path, LOOKED_AT)):
                return Choice(3, f"{shown(os.path.relpath(path, root))} has colour")
    return Choice(1, f"no colour in the {len(paths)} pictures looked at")


def has_colour(image: np.ndarray) -> bool:
    """Whether red, green and blue of an image uint8 (3, S, S) differ by more than the noise of a codec."""
    differences = image.max(axis=0).astype(int) - image.min(axis=0)
    return bool((differences > DIFFERENCE).mean() > SHARE)


def _sample(classes: Sequence[Sequence[str]], per_class: int, total: int) -> list[str]:
    """Paths spread evenly over the list of each class; the first ones of all classes come first."""
    most = max(1, min(per_class, total // len(classes)))
    rows = []
    for paths in classes:
        positions = np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)
        rows.append([paths[position] for position in positions])
    return [path for path in chain.from_iterable(zip_longest(*rows)) if path is not None]
