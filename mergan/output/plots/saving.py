"""Pictures as files: PNG, and animations."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from mergan.output.plots.style import PAPER
from mergan.system.files import replacing


def save_png(picture: np.ndarray, path: Path, new: bool = False) -> None:
    """Write a picture (H, W, 3) as PNG, atomically; `new`: only where there is no file yet."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    with replacing(path, new) as temporary:
        temporary.write_bytes(buffer.getvalue())


def save_animation(
    pictures: Sequence[np.ndarray], durations: Sequence[int], file: IO[bytes], name: str, **options: Any
) -> None:
    """Write pictures (H, W, 3), the smaller ones on white, as an endless loop.

    Args:
        pictures: a frame each.
        durations: of the frames, in milliseconds.
        file: where to.
        name: of the format in Pillow.
        **options: of Pillow for this format.
    """
    from PIL import Image

    frames = map(Image.fromarray, _same_size(pictures))
    next(frames).save(
        file, format=name, save_all=True, append_images=frames, duration=list(durations), loop=0, **options
    )


def _same_size(pictures: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Pictures (H, W, 3) with white on the right and below, up to the size of the largest."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    for picture in pictures:
        room = np.full((height, width, 3), PAPER, dtype=np.uint8)
        room[: picture.shape[0], : picture.shape[1]] = picture
        yield room
