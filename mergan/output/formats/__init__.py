"""The formats in which `mergan sample` writes: one file each, chosen by the suffix of `out`.

A new format is a subclass of `Format` in a file of its own, and its entry in `FORMATS`.
"""

from __future__ import annotations

from pathlib import Path

from mergan.output.formats.arrays import Arrays
from mergan.output.formats.base import Format, Samples
from mergan.output.formats.class_folders import ClassFolders
from mergan.output.formats.film import Film
from mergan.output.formats.picture import Picture
from mergan.system.errors import ConfigError

FOLDER = ""  # in place of a suffix
FORMATS: dict[str, Format] = {
    ".npz": Arrays(),
    ".png": Picture(),
    ".webp": Film("WEBP", lossless=True, method=4),
    ".gif": Film("GIF"),
    FOLDER: ClassFolders(),
}

__all__ = ["FORMATS", "Format", "Samples", "of"]


def of(out: str) -> Format:
    """The format that a path asks for; a path without suffix, or with a slash at its end, means a folder.

    Raises:
        ConfigError: there is no such format; the message lists those that there are.
    """
    if not out:
        raise ConfigError("out: names no file; use e.g. out=samples.npz")
    suffix = FOLDER if out.endswith("/") else Path(out).suffix.lower()
    if suffix not in FORMATS:
        known = ", ".join(name for name in FORMATS if name)
        raise ConfigError(
            f"out={out}: {suffix} is no known format; use {known}, or / at the end for a folder of PNG files"
        )
    return FORMATS[suffix]
