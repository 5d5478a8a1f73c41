"""Decodes a picture file of any kind to bytes: handles transparency, bit depth and colour model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageOps

from mergan.data import opening
from mergan.system.errors import ConfigError, DataError
from mergan.system.text import shown

# Part of the fingerprint: increase it when a file decodes to other pixels than before.
VERSION = 2

_MODES = {1: "L", 3: "RGB"}
_WHITES = (1, 255, 1023, 4095, 16383, 32767, 65535, 2**31 - 1)  # common values of white
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF


@dataclass(frozen=True)
class Decoder:
    """Decodes picture files; if a file holds several pictures, the first one.

    Args:
        channels: 1 or 3.
        background: colour behind transparent parts, (red, green, blue) from 0 to 255.
        white: the value of white in pictures of more than 8 bits per channel that Pillow reads at full
            depth (grey ones). None: 16-bit pictures use that of their format, others are refused.
    """

    channels: int
    background: tuple[int, int, int]
    white: float | None = None

    def decode(self, path: str, size: int) -> np.ndarray:
        """Decode one picture: rotate it upright, crop its longer side to the centre, then scale it.

        Returns:
            uint8 (channels, size, size).

        Raises:
            DataError: it cannot be decoded, or the meaning of its values is unknown.
        """
        with opening.opened(path) as picture:
            opaque = self._opaque(picture, path)
            fitted = ImageOps.fit(
                opaque.convert(_MODES[self.channels]), (size, size), Image.Resampling.BILINEAR
            )
        pixels = np.asarray(fitted)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def _opaque(self, opened: Image.Image, path: str) -> Image.Image:
        """The upright picture with 8 bits per channel and no transparency; mode L, RGB or CMYK."""
        raw = _raw_mode(opened)
        bits = _bits(opened)
        if _is_signed_byte(opened):
            raise _unclear(path, "8-bit numbers with a sign")
        inverted = opened.format == "TIFF" and _tag(opened, _PHOTOMETRIC) == 0
        upright = ImageOps.exif_transpose(opened)
        if upright.mode.startswith(("I", "F")):
            return self._deep(upright, bits, inverted, path)
        transparency = upright.info.get("transparency")
        if upright.mode == "L" and raw in ("L;2", "L;4") and isinstance(transparency, int):
            # Pillow scales the pixels to 0 to 255, but not the value that marks transparency.
            upright.info["transparency"] = transparency * (85 if raw == "L;2" else 17)
        elif upright.mode == "RGB" and raw.startswith("RGB;16") and isinstance(transparency, tuple):
            upright.info["transparency"] = tuple(value >> 8 for value in transparency)
        if upright.has_transparency_data:
            return self._laid_on_background(_rgba(upright))
        # Pillow can convert these modes only to RGB; all others also to L.
        return upright.convert("RGB") if upright.mode in ("HSV", "LAB") else upright

    def _laid_on_background(self, picture: Image.Image) -> Image.Image:
        ground = Image.new("RGB", picture.size, self.background)
        ground.paste(picture, mask=picture.getchannel("A"))
        return ground

    def _deep(self, picture: Image.Image, bits: int, inverted: bool, path: str) -> Image.Image:
        """A grey picture of more than 8 bits, with its values (H, W) scaled to bytes."""
        values = np.asarray(picture)
        if not np.isfinite(values).all():
            raise DataError(
                f"image_folder: {shown(path)} has pixels that are no number, replace or remove it"
            )
        low, high = values.min(), values.max()
        if low < 0 or (self.white is not None and high > self.white):
            raise _unclear(path, f"values from {low:g} to {high:g}", high if low >= 0 else None)
        if self.white is not None:
            scaled = np.rint(values * (255 / self.white))
        elif not 8 < bits <= 16:
            kind = "floating-point numbers" if picture.mode == "F" else "32-bit numbers"
            raise _unclear(path, f"{kind} from {low:g} to {high:g}", high)
        elif 0 < high < 1 << (bits - 8):
            raise _unclear(path, f"{bits}-bit values up to {high} only, which are all black", high)
        else:
            scaled = values >> (bits - 8)
        grey = scaled.astype(np.uint8)
        shade = Image.fromarray(255 - grey if inverted else grey)
        transparent = picture.info.get("transparency")
        if not isinstance(transparent, int):
            return shade
        alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
        return self._laid_on_background(Image.merge("RGBA", (shade, shade, shade, alpha)))


def colour(background: object) -> tuple[int, int, int]:
    """Read `data.source.background`: a colour name that Pillow knows, or "#rrggbb".

    Raises:
        ConfigError: it is neither.
    """
    try:
        values: tuple[int, ...] = ImageColor.getrgb(str(background))
    except ValueError:
        values = ()
    if len(values) != 3:  # four values if it has an alpha value
        raise ConfigError(
            f"data.source.background={shown(str(background))}: use the name of a colour, e.g. white, or "
            "'#rrggbb'"
        )
    red, green, blue = values
    return red, green, blue


def _rgba(picture: Image.Image) -> Image.Image:
    """Convert any mode with transparency to RGBA, undoing premultiplied alpha."""
    straight = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode)
    return (picture.convert(straight) if straight else picture).convert("RGBA")


def _bits(opened: Image.Image) -> int:
    """Bits per channel of a grey picture of more than 8 bits; 32 unless fewer are known."""
    if opened.mode == "I":
        return 16 if opened.format == "PPM" else 32  # Pillow scales PGM files to 16 bits
    if not opened.mode.startswith("I;16"):
        return 32
    bits = _tag(opened, _BITS) if opened.format == "TIFF" else 16
    return bits if isinstance(bits, int) else 16


def _is_signed_byte(opened: Image.Image) -> bool:
    return opened.format == "TIFF" and opened.mode == "L" and _tag(opened, _SAMPLE_FORMAT) == 2


def _tag(opened: Image.Image, number: int) -> object:
    """The value of a TIFF tag; None if the file lacks it."""
    value = opened.tag_v2.get(number)  # type: ignore[attr-defined]
    return value[0] if isinstance(value, tuple) and value else value


def _raw_mode(opened: Image.Image) -> str:
    """The pixel format in the file, before Pillow converts it to its own mode."""
    tiles = getattr(opened, "tile", None)
    arguments = tiles[0].args if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _unclear(path: str, what: str, high: float | None = None) -> DataError:
    """The error for a picture whose value of white is unknown."""
    white = next((white for white in _WHITES if high is not None and high <= white), None)
    remedy = (
        f"name the value of white, e.g. data.source.white={white}, or convert it" if white else "convert it"
    )
    return DataError(f"image_folder: {shown(path)} holds {what}; {remedy} to 8 bits per channel")
