"""The interface of a data set, and a base class for sets that fit in memory during decoding."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from mergan.config.ranges import Channels
from mergan.data.pixels import fit
from mergan.system.errors import DataError

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")

# Images per chunk: decoding is vectorised over a chunk, which bounds the memory.
CHUNK = 1024


class Choice(NamedTuple):
    """A value that was chosen from the data, and why, for a message."""

    value: Any
    why: str


class Source(ABC):
    """A labelled image data set.

    A source is read once, chunk by chunk, into the cache (`mergan.data.cache`). Training reads only the
    cache. To add a data set, write a subclass and a YAML file that names it.

    Args:
        name: name of the data set in messages and in cache file names.
        channels: 1 for grey, 3 for colour; images are converted.

    Attributes:
        licence: under which licence the images are, in words; the card of an exported generator says it.
    """

    licence = "not stated"

    def __init__(self, name: str, channels: Channels) -> None:
        self.name = name
        self.channels = channels

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """The name of each class, in the order of the labels; known once `prepare` has run."""

    @abstractmethod
    def prepare(self) -> None:
        """Make sure that the data is available; does nothing if it already is.

        Raises:
            DataError: it is missing and cannot be fetched.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Identify the bytes behind the source without decoding them.

        Every change of the images or their split must change the fingerprint. A cache with the same
        fingerprint, size and number of channels is used for this source.
        """

    def identity(self) -> list[str]:
        """Identify the data by a short digest for each class, in the order of the labels.

        A resumed run and the evaluation of a checkpoint compare the digests. They must not depend on the
        location of the data, on file times or on decoding settings, and must not require decoding. If the
        images or the split of a class change, its digest should change. An empty digest means unknown.
        `fingerprint` is the key of the cache and may be stricter.
        """
        return [""] * len(self.class_names)

    @abstractmethod
    def size(self, split: Split) -> int:
        """Number of images in a split."""

    def training_counts(self) -> list[int]:
        """Number of training images of each class, without decoding them; here, equal shares of all."""
        self.prepare()
        classes = len(self.class_names)
        return [self.size("train") // classes] * classes

    def suited_channels(self) -> Choice | None:
        """The number of channels that suits the images; None if the source does not find out.

        Raises:
            DataError: the data is missing or cannot be read.
        """
        return None

    def suited_size(self) -> Choice | None:
        """The image size that suits the images, likewise."""
        return None

    @abstractmethod
    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Decode a split, always in the same order.

        Yields:
            images uint8 (n, channels, image_size, image_size) and labels int64 (n,).

        Raises:
            DataError: an image cannot be read.
        """


class ArraySource(Source):
    """A source that reads each split as one array."""

    def __init__(self, name: str, channels: Channels) -> None:
        super().__init__(name, channels)
        self._read_splits: dict[Split, tuple[np.ndarray, np.ndarray]] = {}

    @abstractmethod
    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Read a split.

        Returns:
            images uint8 (N, 1 or 3, H, W) and labels int64 (N,).

        Raises:
            DataError: it cannot be read.
        """

    def size(self, split: Split) -> int:
        return len(self._arrays(split)[1])

    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        images, labels = self._arrays(split)
        # From here on only this generator holds the arrays, so they are freed when it ends.
        del self._read_splits[split]
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            yield fit(images[part], self.channels, image_size), labels[part]

    def _arrays(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """The split, kept between `size` and `chunks` so that it is parsed only once."""
        if split not in self._read_splits:
            images, labels = self.read(split)
            if len(images) != len(labels):
                raise DataError(
                    f"{self.name}: the {split} files hold {len(images)} images but {len(labels)} labels, "
                    "they do not belong together"
                )
            self._read_splits[split] = images, labels
        return self._read_splits[split]


def digest_of(*parts: object) -> str:
    """A digest of 16 hexadecimal digits for `Source.identity`."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
