"""Experience replay from a bounded memory of real images: the reference if you may keep data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mergan.config.ranges import Count, NonNegative
from mergan.scenarios.base import Task
from mergan.strategies.base import Context, Strategy, TrainingBatch
from mergan.strategies.buffer import ReplayBuffer
from mergan.system.errors import ConfigError


class ExperienceReplay(Strategy):
    """Trains on the task's real images together with stored real images of past classes.

    The memory holds `capacity` images in total (Robins 1995; Chaudhry et al. 2019, arXiv 1902.10486, for
    small memories). Discriminator and generator see

        x ~ (n_t / n) p(x | classes of the task) + (1 - n_t / n) p(x | memory)

    with n_t classes in the task and n classes seen, so every class appears equally often.

    The memory is class-balanced. When a task ends, each of the n classes seen keeps capacity // n images.
    Images of the task's classes are drawn uniformly without replacement. An earlier class keeps its first
    images; since they were stored in random order, these are a uniform draw as well. While a class is
    back in a task, its images in the memory are not used, because all its real images are available. They
    are drawn again when the task ends.

    Reservoir sampling (Vitter 1985) holds a uniform draw of the whole stream instead: one image in, one
    out. Its class sizes follow the stream and vary by chance. Class-balanced reservoirs (Chrysakis & Moens
    2020) fix that without knowing the task boundaries. Here the boundaries are known, so one draw at the
    end of a task gives exactly equal numbers. In both cases every image of a class is equally likely to
    stay.

    This strategy does not compete with those that keep no data; it is the reference to compare them with.

    Args:
        capacity: images in the memory, at least one per class of the data set.
        replay_weight: weight of a replay in the discriminator's loss, relative to a real image of the
            task.

    Attributes:
        images: the memory, uint8 (capacity, C, S, S), filled from the front and saved with the module.
        labels: their classes, int64 (capacity,); -1 for an empty slot.

    Raises:
        ConfigError: `build` finds a capacity below the number of classes.
    """

    images: Tensor
    labels: Tensor

    def __init__(self, capacity: Count, replay_weight: NonNegative) -> None:
        super().__init__()
        self.capacity = capacity
        self.buffer = ReplayBuffer(weight=replay_weight)

    def build(self, generator: nn.Module, num_classes: int, channels: int, image_size: int) -> None:
        if self.capacity < num_classes:
            raise ConfigError(f"strategy.capacity={self.capacity}: use at least one per class, {num_classes}")
        self.num_classes = num_classes
        shape = (self.capacity, channels, image_size, image_size)
        self.register_buffer("images", torch.zeros(shape, dtype=torch.uint8))
        self.register_buffer("labels", torch.full((self.capacity,), -1))

    def check_state(self) -> None:
        filled = int((self.labels >= 0).sum())
        front, rest = self.labels[:filled], self.labels[filled:]
        if bool((front < 0).any() or (front >= self.num_classes).any() or (rest != -1).any()):
            raise ConfigError("its labels are not those of a memory of real images")

    def inherit(self, state: Mapping[str, Tensor], rows: Tensor) -> None:
        """Take over the memory of the earlier run."""
        if not {"images", "labels"} <= state.keys():
            raise ConfigError(
                "no memory of real images in it; use a checkpoint of strategy=experience_replay"
            )
        kept = state["labels"] >= 0
        labels = rows[state["labels"][kept]]
        self._store(state["images"][kept], labels, labels.unique().tolist())

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """`batch_size` times the share of the task's classes in the classes seen."""
        return self.buffer.real_per_step(task, batch_size, counts)

    def begin_task(self, context: Context) -> None:
        """Fill the task's buffer with the stored images of the past classes."""
        self.buffer.refill(context, lambda: self._held(context))

    def _held(self, context: Context) -> tuple[Tensor, Tensor]:
        past = _among(self.labels, context.task.past)
        return self.images[past], self.labels[past]

    def end_task(self, context: Context) -> None:
        """Store images of the task's classes in place of their old ones; the other classes shrink."""
        seen, quota = context.task.seen, self.capacity // len(context.task.seen)
        rng = np.random.default_rng([context.seed, context.task.index])
        chosen = [rng.permutation(context.real.indices_of([label]))[:quota] for label in context.task.classes]
        images, labels = (
            torch.from_numpy(part).to(context.device) for part in context.real.take(np.concatenate(chosen))
        )
        left = ~_among(self.labels, context.task.classes)
        self._store(torch.cat([self.images[left], images]), torch.cat([self.labels[left], labels]), seen)

    def _store(self, images: Tensor, labels: Tensor, classes: tuple[int, ...] | list[int]) -> None:
        """Keep the first images (N, C, S, S) of each class, up to its quota; labels are (N,)."""
        quota = self.capacity // len(classes)
        rows = torch.cat([(labels == label).nonzero().squeeze(1)[:quota] for label in classes])
        self.labels.fill_(-1)
        self.images[: len(rows)] = images[rows]
        self.labels[: len(rows)] = labels[rows]

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """Real images of the task first, then images from the memory."""
        return self.buffer.fill_up(images, labels, context)

    def asked_classes(self, task: Task) -> tuple[int, ...]:
        """All classes seen."""
        return task.seen


def _among(labels: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Which of labels (N,) are of these classes: bool (N,)."""
    return torch.isin(labels, torch.tensor(classes, dtype=labels.dtype, device=labels.device))
