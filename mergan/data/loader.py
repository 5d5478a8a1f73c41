"""The real images of one task for one epoch, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from mergan.data.balance import Passes
from mergan.data.image_set import ImageSet
from mergan.system.errors import DataError


def steps_of_one_pass(num_images: int, real_per_step: float, world_size: int = 1) -> int:
    """Number of steps to deliver every image once, with `real_per_step` images in each process."""
    # The tolerance prevents a rounding error from turning 7 / 0.7 into 11 steps.
    return max(1, math.ceil(num_images / (real_per_step * world_size) - 1e-9))


class TaskLoader:
    """Iterable over (images uint8 (b, C, S, S), labels int64 (b,)) of one task, for one epoch.

    `real_per_step` x may be fractional, for strategies that fill up their batches with replays. Step t
    delivers round((t + 1) x) - round(t x) images, so some steps deliver none if x is below 1. The images
    depend only on (seed, epoch), so iterating again repeats them. Several processes together deliver what a
    single one would with as many times more images per step; each delivers its part
    (mergan.system.whole_batch).

    Args:
        image_set: the images.
        classes: the classes of the task; no others are delivered.
        real_per_step: average number of images per step in each process; above 0.
        num_steps: length of the epoch, drawn from successive shuffled passes. None: one pass over the
            images, whose last step is filled up from the beginning of the pass.
        balanced: whether a pass holds as many images of every class as the largest class has.
        seed: seed of the order.
        epoch: epoch of the stream.
        batches_per_step: number of batches that a learner splits a step's images into.
        rank: rank of this process.
        world_size: number of processes.

    Raises:
        DataError: a class has no images.
    """

    def __init__(
        self,
        image_set: ImageSet,
        classes: Sequence[int],
        *,
        real_per_step: float,
        num_steps: int | None,
        seed: int,
        epoch: int,
        balanced: bool = False,
        batches_per_step: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not real_per_step > 0:
            raise ValueError(f"real_per_step={real_per_step} must be above 0")
        self._set = image_set
        of_each = {label: image_set.indices_of([label]) for label in classes}
        absent = [label for label, indices in of_each.items() if not len(indices)]
        if absent or not of_each:
            raise DataError(f"classes {sorted(absent)} have no training images")
        self._order = Passes(list(of_each.values()), balanced)
        self._per_step = real_per_step * world_size
        self._batches_per_step = batches_per_step
        self._one_pass = num_steps is None
        self._seed, self._epoch = seed, epoch
        self._rank, self._world_size = rank, world_size
        one_pass = steps_of_one_pass(len(self._order), real_per_step, world_size)
        self._num_steps = one_pass if num_steps is None else num_steps

    def __len__(self) -> int:
        return self._num_steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._set.batches(self._indices()):
            yield torch.from_numpy(images), torch.from_numpy(labels)

    def _indices(self) -> Iterator[np.ndarray]:
        """Which images this process delivers in each step."""
        passes = self._passes()
        upcoming = next(passes)
        for step in range(self._num_steps):
            size = self.images_in(step)
            while len(upcoming) < size:
                upcoming = np.concatenate([upcoming, next(passes)])
            batches = np.array_split(upcoming[:size], self._batches_per_step)
            upcoming = upcoming[size:]
            yield np.concatenate([batch[self._rank :: self._world_size] for batch in batches])

    def images_in(self, step: int) -> int:
        """Images that all processes together deliver in a step."""
        return self._until(step + 1) - self._until(step)

    def _until(self, step: int) -> int:
        """Images that all processes together deliver before `step`."""
        # Not `round`, which rounds halves to even: with 0.5 images per step the gaps would differ.
        return math.floor(step * self._per_step + 0.5)

    def _passes(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng([self._seed, self._epoch])
        if self._one_pass:
            yield from repeat(self._order.draw(rng))
        while True:
            yield self._order.draw(rng)
