"""Opens picture files: which formats, within which limits, with which errors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from PIL import Image

from mergan.system.errors import DataError
from mergan.system.text import shown

# A fixed list instead of the formats of the installed Pillow, so a folder is the same data everywhere.
# Documents, films and printer programs (PDF, PS, EPS, MPEG, WMF) are never opened.
_SUFFIXES_OF = {
    "AVIF": ".avif",
    "BMP": ".bmp",
    "DIB": ".dib",
    "GIF": ".gif",
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",
    "JPEG2000": ".jp2 .j2k .jpc .jpf .jpx .j2c",
    "PCX": ".pcx",
    "PNG": ".png .apng",
    "PPM": ".pbm .pgm .ppm .pnm .pfm",
    "QOI": ".qoi",
    "TIFF": ".tif .tiff",
    "WEBP": ".webp",
}
SUFFIXES = frozenset(" ".join(_SUFFIXES_OF.values()).split())


def shorter_side(path: str) -> int:
    """The shorter side of a picture in pixels, from its header.

    Raises:
        DataError: it has no header that can be read.
    """
    with opened(path) as picture:
        return min(picture.size)


@contextmanager
def opened(path: str) -> Iterator[Image.Image]:
    """Open a picture, and name it if it cannot be decoded inside.

    Raises:
        DataError: it is broken, too large or of another format.
    """
    try:
        with Image.open(path, formats=_formats()) as picture:
            yield picture
    except DataError:
        raise
    # For broken files, PIL's decoders raise errors of many kinds.
    except Exception as error:
        raise DataError(
            f"image_folder: cannot decode {shown(path)} ({failure(error)}), replace or remove it"
        ) from error


def failure(error: Exception) -> str:
    """Why Pillow did not decode a picture, in a few words."""
    too_large = isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning)
    return "too large" if too_large else type(error).__name__


@contextmanager
def guarded() -> Iterator[None]:
    """Handle Pillow's warnings: its pixel limit raises an error, warnings about odd files are ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """The formats of our list that the installed Pillow can read."""
    Image.init()
    return tuple(name for name in _SUFFIXES_OF if name in Image.OPEN)
