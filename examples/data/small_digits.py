"""A data set: the 1,797 digits of 8x8 pixels that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from mergan.data.source import ArraySource, Split, digest_of

TEST_EVERY = 5


class SmallDigits(ArraySource):
    """Digits 0 to 9, 8x8, grey (Alpaydin and Kaynak 1998); every fifth one is a test image.

    Args:
        channels: 1, or 3 to repeat the grey value.
    """

    def __init__(self, channels: int) -> None:
        super().__init__("small_digits", channels)

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def prepare(self) -> None:
        """There is nothing to fetch."""

    def fingerprint(self) -> str:
        return f"test every {TEST_EVERY}"

    def identity(self) -> list[str]:
        return [digest_of(self.name, self.fingerprint(), digit) for digit in self.class_names]

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (N, 1, 8, 8) and labels int64 (N,)."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        in_test = np.arange(len(digits.target)) % TEST_EVERY == TEST_EVERY - 1
        chosen = in_test if split == "test" else ~in_test
        images = (digits.images[chosen, None] * 15.9375).astype(np.uint8)  # 0 to 16 there
        return images, digits.target[chosen].astype(np.int64)
