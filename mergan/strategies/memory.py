"""A bounded, class-balanced memory of real images: the base of the strategies that keep data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from mergan.config.ranges import Count
from mergan.strategies.base import Strategy
from mergan.strategies.context import Context
from mergan.system.errors import ConfigError


class RealMemory(Strategy):
    """Stores real images of the classes when their task ends. What they are used for is up to a subclass.

    The memory is class-balanced. When a task ends, each of the n classes seen keeps N // n of the N images
    that fit. Images of the task's classes are drawn uniformly without replacement. An earlier class keeps its
    first images; since they were stored in random order, these are a uniform draw as well. While a class is
    back in a task, its images in the memory are not used, because all its real images are available. They
    are drawn again when the task ends.

    Reservoir sampling (Vitter 1985) holds a uniform draw of the whole stream instead: one image in, one
    out. Its class sizes follow the stream and vary by chance. Class-balanced reservoirs (Chrysakis & Moens
    2020) fix that without knowing the task boundaries. Here the boundaries are known, so one draw at the
    end of a task gives exactly equal numbers. In both cases every image of a class is equally likely to
    stay.

    Args:
        capacity: size of the memory, at least one image per class of the data set.
        unit: what `capacity` counts: images, or bytes of the stored images, one per value.

    Attributes:
        images: the memory, uint8 (N, C, S, S), filled from the front and saved with the module.
        labels: their classes, int64 (N,); -1 for an empty slot.

    Raises:
        ConfigError: `build` finds that fewer images fit than there are classes.
    """

    images: Tensor
    labels: Tensor

    def __init__(self, capacity: Count, unit: Literal["images", "bytes"] = "images") -> None:
        super().__init__()
        self.capacity = capacity
        self.unit = unit

    def build(self, generator: nn.Module, num_classes: int, channels: int, image_size: int) -> None:
        size = 1 if self.unit == "images" else channels * image_size**2
        count = self.capacity // size
        if count < num_classes:
            fits = "" if self.unit == "images" else f"holds {count} images of {size} bytes; "
            raise ConfigError(
                f"strategy.capacity={self.capacity}: {fits}use at least one per class, {num_classes * size}"
            )
        self.num_classes = num_classes
        shape = (count, channels, image_size, image_size)
        self.register_buffer("images", torch.zeros(shape, dtype=torch.uint8))
        self.register_buffer("labels", torch.full((count,), -1))

    def check_state(self) -> None:
        filled = int((self.labels >= 0).sum())
        front, rest = self.labels[:filled], self.labels[filled:]
        if bool((front < 0).any() or (front >= self.num_classes).any() or (rest != -1).any()):
            raise ConfigError("its labels are not those of a memory of real images")

    def inherit(self, state: Mapping[str, Tensor], rows: Tensor) -> None:
        """Take over the memory of the earlier run."""
        if not {"images", "labels"} <= state.keys():
            raise ConfigError(
                "no memory of real images in it; use a checkpoint of strategy=experience_replay, agem or "
                "memory_only"
            )
        kept = state["labels"] >= 0
        labels = rows[state["labels"][kept]]
        self._store(state["images"][kept], labels, labels.unique().tolist())

    def end_task(self, context: Context) -> None:
        """Store images of the task's classes in place of their old ones; the other classes shrink."""
        seen, quota = context.task.seen, len(self.labels) // len(context.task.seen)
        rng = np.random.default_rng([context.seed, context.task.index])
        chosen = [rng.permutation(context.real.indices_of([label]))[:quota] for label in context.task.classes]
        images, labels = (
            torch.from_numpy(part).to(context.device) for part in context.real.take(np.concatenate(chosen))
        )
        left = ~_among(self.labels, context.task.classes)
        self._store(torch.cat([self.images[left], images]), torch.cat([self.labels[left], labels]), seen)

    def bytes_kept(self, generator: nn.Module) -> int:
        """Bytes of the stored images."""
        return int((self.labels >= 0).sum()) * self.images[:1].nbytes

    def held(self, classes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The stored images uint8 (n, C, S, S) of these classes and their labels (n,)."""
        wanted = _among(self.labels, classes)
        return self.images[wanted], self.labels[wanted]

    def _store(self, images: Tensor, labels: Tensor, classes: tuple[int, ...] | list[int]) -> None:
        """Keep the first images (N, C, S, S) of each class, up to its quota; labels are (N,)."""
        quota = len(self.labels) // len(classes)
        rows = torch.cat([(labels == label).nonzero().squeeze(1)[:quota] for label in classes])
        self.labels.fill_(-1)
        self.images[: len(rows)] = images[rows]
        self.labels[: len(rows)] = labels[rows]


def _among(labels: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Which of labels (N,) are of these classes: bool (N,)."""
    return torch.isin(labels, torch.tensor(classes, dtype=labels.dtype, device=labels.device))
