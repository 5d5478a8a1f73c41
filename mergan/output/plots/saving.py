"""Pictures as PNG files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from mergan.system.files import replacing


def save_png(picture: np.ndarray, path: Path, new: bool = False) -> None:
    """Write a picture (H, W, 3) as PNG, atomically; `new`: only where there is no file yet."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    with replacing(path, new) as temporary:
        temporary.write_bytes(buffer.getvalue())
