"""The formats by suffix."""

from __future__ import annotations

from pathlib import Path

from mergan.sharing.base import Format
from mergan.sharing.exported_program import ExportedProgram
from mergan.sharing.onnx import Onnx
from mergan.sharing.weights import Weights
from mergan.system.errors import ConfigError

FORMATS: tuple[Format, ...] = (Onnx(), Weights(), ExportedProgram())


def format_of(out: Path) -> Format:
    """The format of a file by its suffix.

    Raises:
        ConfigError: there is no such format; the message lists the suffixes.
    """
    for each in FORMATS:
        if out.suffix.lower() == each.suffix:
            return each
    raise ConfigError(f"out={out}: name a file that ends with {', '.join(each.suffix for each in FORMATS)}")
