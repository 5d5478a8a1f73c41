"""A base class for published sets of photographs that are read one by one, from whatever holds them."""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from mergan.data import opening
from mergan.data.source import CHUNK, Source, Split
from mergan.system.errors import DataError
from mergan.system.text import shown

# Part of a fingerprint: increase it when a photograph decodes to other pixels than before.
VERSION = 1

_FORMATS = ("JPEG", "WEBP")
_MODES = {1: "L", 3: "RGB"}


class Photograph(NamedTuple):
    """A photograph that is not decoded yet.

    Attributes:
        name: where it is, for messages.
        content: the bytes of a JPEG or WebP file.
        label: its class.
    """

    name: str
    content: bytes
    label: int


class Photographs(Source):
    """Photographs of any size. The longer side is cropped to the centre, then the square is scaled.

    A chunk is decoded by several threads. Never more than a chunk of photographs is in memory.

    Attributes:
        remedy: what to do about a photograph that cannot be decoded, in words.
    """

    remedy: str

    @abstractmethod
    def photographs(self, split: Split) -> Iterator[Photograph]:
        """The photographs of a split, always in the same order.

        Raises:
            DataError: one cannot be read.
        """

    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        threads = min(8, os.cpu_count() or 1)  # PIL releases the GIL while it decodes
        # a generator, so that what it reads from is closed when decoding is given up
        reading = (photograph for photograph in self.photographs(split))
        with closing(reading), ThreadPoolExecutor(threads) as pool:
            while part := list(islice(reading, CHUNK)):
                with opening.guarded():
                    images = list(pool.map(lambda item: self._decoded(item, image_size), part))
                yield np.stack(images), np.array([item.label for item in part], dtype=np.int64)

    def _decoded(self, photograph: Photograph, size: int) -> np.ndarray:
        """Pixels uint8 (channels, size, size)."""
        try:
            with Image.open(io.BytesIO(photograph.content), formats=_FORMATS) as opened:
                whole = opened.convert(_MODES[self.channels])
            fitted = ImageOps.fit(whole, (size, size), Image.Resampling.BILINEAR)
        except Exception as error:  # for broken files, PIL's decoders raise errors of many kinds
            why = opening.failure(error)
            raise DataError(
                f"{self.name}: cannot decode {shown(photograph.name)} ({why}); {self.remedy}"
            ) from error
        pixels = np.asarray(fitted)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
