"""Names in pictures: one font that is always available, and escapes for what it cannot draw."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mergan.system.text import escaped, shortened, shown

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# No font has this character. A character that is drawn like it is missing from the font.
_MISSING = "\uffff"


@lru_cache(maxsize=1)
def font_file() -> Path:
    """The DejaVu Sans of matplotlib, found without importing matplotlib; the same on every machine."""
    package = find_spec("matplotlib")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


@lru_cache(maxsize=4)
def font(pixels: int) -> FreeTypeFont:
    """The font at a size in pixels, for drawing with Pillow."""
    from PIL import ImageFont

    return ImageFont.truetype(str(font_file()), pixels)


def label(name: str, number: int, length: int = 24) -> str:
    r"""A name for a picture, of at most `length` characters.

    Characters that are invisible or that the font lacks are escaped. A name that is too long loses its
    middle. Any name that is changed in this way gets its number in front.

    >>> label("日本", 3)
    '3 \\u65e5\\u672c'
    """
    drawn = "".join(character if _has(character) else escaped(character) for character in shown(name))
    return drawn if drawn == name and len(name) <= length else shortened(f"{number} {drawn}", length)


@lru_cache(maxsize=4096)
def _has(character: str) -> bool:
    """Whether the font can draw a character."""
    return character.isascii() or _shape(character) != _shape(_MISSING)


def _shape(character: str) -> tuple[tuple[int, int], bytes]:
    mask = font(12).getmask(character)
    return mask.size, bytes(mask)
