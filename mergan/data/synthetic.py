"""Generated images: no files, any shape, classes that a small network can distinguish."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mergan.config.ranges import Channels, Count, Whole
from mergan.data.source import CHUNK, SPLITS, Source, Split, digest_of

# Increase it when the images change, so that old cached images are not used.
VERSION = 1

WAVES = 3
SHIFT = 0.08  # maximum shift in both directions, as a share of the image side
NOISE = 0.06  # standard deviation, for images in [-1, 1]


class Synthetic(Source):
    """Each class has its own smooth pattern; each image is that pattern, shifted, faded and noisy.

    Args:
        num_classes: number of classes.
        channels: 1 or 3.
        train_per_class: training images of each class.
        test_per_class: test images of each class.
        seed: seed of patterns and images, independent of the seed of the run.
    """

    licence = "none needed: the images are made by a formula"

    def __init__(
        self,
        num_classes: Count,
        channels: Channels,
        train_per_class: Count,
        test_per_class: Count,
        seed: Whole = 0,
    ) -> None:
        super().__init__("synthetic", channels)
        self.num_classes = num_classes
        self._per_class: dict[Split, int] = {"train": train_per_class, "test": test_per_class}
        self._seed = seed

    @property
    def class_names(self) -> list[str]:
        return [str(label) for label in range(self.num_classes)]

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def fingerprint(self) -> str:
        per_class = sorted(self._per_class.items())
        return f"version {VERSION}, classes {self.num_classes}, seed {self._seed}, {per_class}"

    def identity(self) -> list[str]:
        return [digest_of(self.fingerprint(), name) for name in self.class_names]

    def size(self, split: Split) -> int:
        return self.num_classes * self._per_class[split]

    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        frequency, phase, colour = self._patterns()
        for index, start in enumerate(range(0, self.size(split), CHUNK)):
            labels = np.arange(start, min(start + CHUNK, self.size(split)), dtype=np.int64) % self.num_classes
            rng = np.random.default_rng([self._seed, 1 + SPLITS.index(split), index])
            shift = rng.uniform(-SHIFT, SHIFT, (len(labels), 2))
            moved = phase[labels] + np.einsum("nkd,nd->nk", frequency[labels], shift)
            waves = _waves(frequency[labels], moved, image_size)
            images = np.einsum("nkhw,nkc->nchw", waves, colour[labels], optimize=True)
            images *= rng.uniform(0.7, 1.0, (len(labels), 1, 1, 1)).astype(np.float32)
            images += NOISE * rng.standard_normal(images.shape, dtype=np.float32)
            yield np.rint((images + 1) * 127.5).clip(0, 255).astype(np.uint8), labels

    def _patterns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frequency (classes, WAVES, 2), phase (classes, WAVES) and colour (classes, WAVES, channels)."""
        rng = np.random.default_rng([self._seed, 0])
        frequency = 2 * np.pi * rng.uniform(-2.5, 2.5, (self.num_classes, WAVES, 2))
        phase = rng.uniform(0, 2 * np.pi, (self.num_classes, WAVES))
        colour = rng.uniform(-1, 1, (self.num_classes, WAVES, self.channels))
        colour /= np.abs(colour).sum(axis=1, keepdims=True)
        return frequency, phase, colour.astype(np.float32)


def _waves(frequency: np.ndarray, phase: np.ndarray, size: int) -> np.ndarray:
    """sin(x fx + y fy + phase) over the image: float32 (n, WAVES, size, size).

    With the addition theorem, sines and cosines are needed only along the edges, not for every pixel.
    """
    along = (np.arange(size) + 0.5) / size
    rows = frequency[..., 0, None] * along + phase[..., None]
    columns = frequency[..., 1, None] * along
    (sin_r, cos_r), (sin_c, cos_c) = (
        (np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)) for angle in (rows, columns)
    )
    return sin_r[..., :, None] * cos_c[..., None, :] + cos_r[..., :, None] * sin_c[..., None, :]
