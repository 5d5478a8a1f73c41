"""`.npz`: images, labels and class names as NumPy arrays, which `numpy.load` reads without pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mergan.output.formats.base import Format, Samples, counted
from mergan.system.files import replacing


class Arrays(Format):
    """`images` uint8 (N, C, S, S), `labels` int64 (N,), and `class_names`: that of label i is entry i.

    The same images give the same file, byte for byte.
    """

    def write(self, samples: Sequence[Samples], out: Path, overwrite: bool) -> list[str]:
        (own,) = samples
        images, labels = own.flat
        names = np.array(list(own.class_names), dtype=np.str_)
        with replacing(out, new=not overwrite) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, images=images, labels=labels, class_names=names)
        return [f"{counted(own)} written to {out}"]
