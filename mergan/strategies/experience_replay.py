"""Experience replay from a bounded memory of real images: the reference if you may keep data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mergan.config.ranges import NonNegative
from mergan.scenarios.base import Task
from mergan.strategies.batches import TrainingBatch
from mergan.strategies.buffer import ReplayBuffer
from mergan.strategies.context import Context
from mergan.strategies.memory import RealMemory


class ExperienceReplay(RealMemory):
    """Trains on the task's real images together with stored real images of past classes.

    The memory is that of RealMemory (Robins 1995; Chaudhry et al. 2019, arXiv 1902.10486, for small
    memories). Discriminator and generator see

        x ~ a p(x | classes of the task) + (1 - a) p(x | memory)

    with a = n_t / n for n_t classes in the task and n classes seen, so that every class appears equally
    often. `balanced` sets a = 1/2, as Chaudhry et al. do, who join a batch of the memory to each batch of the
    task. The new classes then keep their share in a long stream, and each past class is seen less often.

    This strategy does not compete with those that keep no data; it is the reference to compare them with.

    Args:
        replay_weight: weight of a replay in the discriminator's loss, relative to a real image of the
            task.
        balanced: half of every batch comes from the memory, whatever the numbers of classes. The generator
            is asked for new and past classes with the same shares.
        **memory: capacity and unit, see RealMemory.
    """

    def __init__(self, replay_weight: NonNegative, balanced: bool = False, **memory: Any) -> None:
        super().__init__(**memory)
        self.balanced = balanced
        self.buffer = ReplayBuffer(weight=replay_weight, real_share=0.5 if balanced else None)

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """`batch_size` times a."""
        return self.buffer.real_per_step(task, batch_size, counts)

    def begin_task(self, context: Context) -> None:
        """Fill the task's buffer with the stored images of the past classes."""
        self.buffer.refill(context, lambda: self.held(context.task.past))

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """Real images of the task first, then images from the memory."""
        return self.buffer.fill_up(images, labels, context)

    def asked_classes(self, task: Task) -> tuple[int, ...]:
        """All classes seen; if `balanced`, repeated until new and past ones have the same share."""
        if not (self.balanced and task.past):
            return task.seen
        new, past = len(task.classes), len(task.past)
        common = math.gcd(new, past)
        return task.past * (new // common) + task.classes * (past // common)
