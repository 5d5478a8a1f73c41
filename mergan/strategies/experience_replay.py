"""Experience replay from a bounded memory of real images: the reference for whoever may keep data."""

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
    """Discriminator and generator train on the task's real images together with real images of the
    classes before, from a memory of `capacity` images in all (Robins 1995; Chaudhry et al. 2019,
    arXiv 1902.10486, for small memories):

        x ~ (n_t / n) p(x | classes of the task) + (1 - n_t / n) p(x | memory),
        n_t classes in the task, n classes seen: every class is shown as often

    The memory is class-balanced. When a task ends, each of the n classes seen keeps capacity // n
    images: those of the task are drawn uniformly without replacement, those of earlier classes are
    the first of what they had, and as that was in random order the rest is a uniform draw as well.
    While a class is back in a task its images in the memory rest, as all its real images are there; when
    the task ends it is drawn anew.

    What differs from reservoir sampling (Vitter 1985): a reservoir holds a uniform draw of the whole
    stream, one image in for one out, so that its classes are as large as they were in the stream, and
    their numbers vary by chance. Class-balanced reservoirs (Chrysakis & Moens 2020) mend that without
    knowing where a task ends. Here that is known, and one draw at the end of the task does it, with
    equal numbers exactly; what is the same is that within a class every image is as likely to stay.

    This is no competitor of the strategies that keep no data, but what they are to be compared with.

    Args:
        capacity: images in the memory; at least one for each class of the data set.
        replay_weight: weight of a replay in the discriminator's loss, relative to a real image of the
            task.

    Attributes:
        images: the memory, uint8 (capacity, C, S, S), saved with the module; filled from the front.
        labels: their classes, int64 (capacity,); -1 where there is no image.

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
        """Take over the memory of the run before."""
        if not {"images", "labels"} <= state.keys():
            raise ConfigError(
                "no memory of real images in it; use a checkpoint of strategy=experience_replay"
            )
        kept = state["labels"] >= 0
        labels = rows[state["labels"][kept]]
        self._store(state["images"][kept], labels, labels.unique().tolist())

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """The share of the task's classes in the classes seen."""
        return self.buffer.real_per_step(task, batch_size, counts)

    def begin_task(self, context: Context) -> None:
        """Make the memory of the past classes the buffer of the task."""
        self.buffer.refill(context, lambda: self._held(context))

    def _held(self, context: Context) -> tuple[Tensor, Tensor]:
        past = _among(self.labels, context.task.past)
        return self.images[past], self.labels[past]

    def end_task(self, context: Context) -> None:
        """Put images of the task's classes into the memory, in place of any it had; the others make room."""
        seen, quota = context.task.seen, self.capacity // len(context.task.seen)
        rng = np.random.default_rng([context.seed, context.task.index])
        chosen = [rng.permutation(context.real.indices_of([label]))[:quota] for label in context.task.classes]
        images, labels = (
            torch.from_numpy(part).to(context.device) for part in context.real.take(np.concatenate(chosen))
        )
        left = ~_among(self.labels, context.task.classes)
        self._store(torch.cat([self.images[left], images]), torch.cat([self.labels[left], labels]), seen)

    def _store(self, images: Tensor, labels: Tensor, classes: tuple[int, ...] | list[int]) -> None:
        """Keep of each class the first images (N, C, S, S), with labels (N,), as many as it may have."""
        quota = self.capacity // len(classes)
        rows = torch.cat([(labels == label).nonzero().squeeze(1)[:quota] for label in classes])
        self.labels.fill_(-1)
        self.images[: len(rows)] = images[rows]
        self.labels[: len(rows)] = labels[rows]

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """Real images of the task first, then those from the memory."""
        return self.buffer.fill_up(images, labels, context)

    def asked_classes(self, task: Task) -> tuple[int, ...]:
        """All classes seen."""
        return task.seen


def _among(labels: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Which of labels (N,) are of these classes: bool (N,)."""
    return torch.isin(labels, torch.tensor(classes, dtype=labels.dtype, device=labels.device))
