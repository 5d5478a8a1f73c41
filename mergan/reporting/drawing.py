"""A figure of the report: a file, what it shows in words, and what the page shows of it."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np

QUALITY = 85  # of WebP, in the page; the files beside it are lossless

# metrics that are shown first, and what titles and axes call them
METRICS = {
    "accuracy": "accuracy",
    "recall": "recall",
    "coverage": "coverage",
    "fid": "FID",
    "precision": "precision",
    "density": "density",
    "kid": "KID",
    "diversity": "diversity",
}


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        name: of its file, with the suffix .svg, .png or .webp.
        title: above it.
        text: what it shows, for those who do not see it.
        content: the file.
        note: a line below it.
        inline: what the page shows in its place, smaller; None: the file itself.
    """

    name: str
    title: str
    text: str
    content: bytes
    note: str = ""
    inline: bytes | None = None


def file_name(begin: str, name: str, taken: set[str], suffix: str) -> str:
    """A name for a file from a name that may hold anything; different from all that are taken."""
    base = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{begin}{name}")[:60]
    found, number = f"{base}.{suffix}", 2
    while found.lower() in taken:
        found, number = f"{base}_{number}.{suffix}", number + 1
    taken.add(found.lower())
    return found


def title_of(metric: str) -> str:
    """What the report calls a metric."""
    return METRICS.get(metric, metric.replace("_", " "))


def webp(picture: np.ndarray, quality: int = QUALITY) -> bytes:
    """A picture uint8 (H, W, 3) as WebP, small enough for the page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", quality=quality)
    return buffer.getvalue()


def png(picture: np.ndarray) -> bytes:
    """A picture uint8 (H, W, 3) as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
