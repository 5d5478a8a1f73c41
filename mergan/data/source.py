"""What a data set has to offer, and the base of those that fit in memory while they are decoded."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

import numpy as np

from mergan.config.ranges import Channels
from mergan.data.pixels import fit
from mergan.system.errors import DataError

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")

# Images handed over at a time: decoding is vectorised over a chunk, and memory is bounded by it.
CHUNK = 1024


class Source(ABC):
    """A labelled image data set.

    A source is read once, chunk by chunk, into the cache (`mergan.data.cache`); training never
    touches it again. A new data set is a subclass and a YAML file that names it.

    Args:
        name: what the data set is called in messages and in names of cache files.
        channels: 1 for grey, 3 for colour; images are converted.
    """

    def __init__(self, name: str, channels: Channels) -> None:
        self.name = name
        self.channels = channels

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """The name of each class, in the order of the labels; known once `prepare` has run."""

    @abstractmethod
    def prepare(self) -> None:
        """Make sure the data is there; does nothing where it is.

        Raises:
            DataError: it is not, and cannot be fetched.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Identify the bytes behind the source without decoding them.

        Whatever changes the images or their split must change the fingerprint: a cache made under
        the same fingerprint, size and number of channels is taken for this source.
        """

    def identity(self) -> list[str]:
        """Say which data this is: a short digest for each class, in the order of the labels.

        A run that goes on, or a checkpoint that is evaluated, compares them. They must not depend on
        where the data lies, on times of files or on settings of decoding, and cost no decoding. A class
        whose images or split change should get another digest. An empty one says that it is not known.
        `fingerprint` is the key of the cache and may be stricter.
        """
        return [""] * len(self.class_names)

    @abstractmethod
    def size(self, split: Split) -> int:
        """How many images a split has."""

    @abstractmethod
    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Decode a split, always in the same order.

        Yields:
            images uint8 (n, channels, image_size, image_size) and labels int64 (n,).

        Raises:
            DataError: an image cannot be read.
        """


class ArraySource(Source):
    """A source whose splits are read as one array each."""

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
        # From here on only this generator holds the arrays: they go when it ends.
        del self._read_splits[split]
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            yield fit(images[part], self.channels, image_size), labels[part]

    def _arrays(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """The split, kept between `size` and `chunks` so that it is parsed once."""
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
