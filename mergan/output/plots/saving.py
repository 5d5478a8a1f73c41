"""Pictures leave as PNG files and towards loggers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mergan.system.files import replacing


def save_png(picture: np.ndarray, path: Path) -> None:
    """Write a picture (H, W, 3) as PNG, atomically."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def to_tensorboard(loggers: Iterable[Any], tag: str, draw: Callable[[], np.ndarray], step: int) -> None:
    """Hand a picture to the loggers that can show it; it is drawn only if there is such a logger."""
    boards = [logger.experiment.add_image for logger in loggers if hasattr(logger.experiment, "add_image")]
    picture = draw() if boards else None
    for add_image in boards:
        add_image(tag, picture, step, dataformats="HWC")
