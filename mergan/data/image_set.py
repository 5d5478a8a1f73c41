"""A loaded split of a data set: images, labels and views of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mergan.data.ahead import ahead


class ImageSet:
    """Labelled images, in memory or mapped from a file.

    A subset is a view: it shares the images of the full set. Only images that you take are copied, so
    even a very large file is never read completely.

    Args:
        images: uint8 (N, C, S, S), possibly a read-only memory map.
        labels: int64 (N,).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images, but {len(labels)} labels")
        self._stored = images
        self._rows: np.ndarray | None = None
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, S, S) of one image."""
        channels, height, width = self._stored.shape[1:]
        return channels, height, width

    @property
    def images(self) -> np.ndarray:
        """All images, uint8 (N, C, S, S); a copy for a subset, so use `take` if you need only a few."""
        return self._stored if self._rows is None else self._stored[self._rows]

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Copies of the images uint8 (n, C, S, S) and labels int64 (n,) at `indices` (n,)."""
        rows = indices if self._rows is None else self._rows[indices]
        return self._stored[rows], self.labels[indices]

    def batches(self, indices: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What `take` gives for each of `indices`, in order.

        Of a mapped file the next batches are read while the caller works on one.
        """
        return ahead(self.take, indices) if isinstance(self._stored, np.memmap) else map(self.take, indices)

    def in_order(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All images and labels in batches of `size`; the last batch may be smaller."""
        starts = range(0, len(self), size)
        return self.batches(np.arange(start, min(start + size, len(self))) for start in starts)

    def indices_of(self, classes: Iterable[int]) -> np.ndarray:
        """Indices of the images of these classes: int64 (n,), ascending."""
        return np.flatnonzero(np.isin(self.labels, list(classes)))

    def subset(self, indices: np.ndarray) -> ImageSet:
        """A view of the images at `indices` (n,), numbered from 0 in that order."""
        view = ImageSet.__new__(ImageSet)
        view._stored = self._stored
        view._rows = indices if self._rows is None else self._rows[indices]
        view.labels = self.labels[indices]
        return view

    def relabelled(self, classes: Sequence[int]) -> ImageSet:
        """A view of the images of these classes, in the same order, labelled by their index in `classes`."""
        view = self.subset(self.indices_of(classes))
        numbers = np.full(max(classes, default=0) + 1, -1, dtype=np.int64)
        numbers[list(classes)] = np.arange(len(classes))
        view.labels = numbers[view.labels]
        return view
