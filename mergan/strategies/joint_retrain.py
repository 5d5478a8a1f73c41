"""Joint retraining on self-generated replays (MeRGAN-JTR: Wu et al. 2018, arXiv 1809.02058)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mergan.config.ranges import Count, NonNegative, Positive, Share
from mergan.scenarios.base import Task
from mergan.strategies.base import Strategy
from mergan.strategies.batches import TrainingBatch
from mergan.strategies.buffer import ReplayBuffer, snapshot_images
from mergan.strategies.context import Context


class JointRetrain(Strategy):
    """Trains on the task's real images together with replays x = G_{t-1}(z, c) of past classes c.

    Args:
        mode: "buffer" generates the replays once, when the task begins; every batch is a draw from real
            images and buffer together (V2). "live" generates new replays for every batch of `batch_size`
            real images (the paper's code).
        buffer_per_class: replays per past class ("buffer"). null: the average number of real images per
            class of the task, which balances past and new classes, but no more than the task can draw.
        max_per_class: maximum number of real images per new class; null: all. V2 limits them to the size
            of the buffer, which keeps the classes balanced.
        replay_per_step: replays per batch of real images ("live"), drawn uniformly from the past
            classes; null: `batch_size`. The cost of a step does not grow with the number of classes.
        min_real_share: minimum share of real images in a batch ("buffer"), and of the task's classes among
            those that the generator is asked for. After many tasks, balanced classes leave few images of the
            new ones, which are then learned slowly.
        replay_weight: weight of the loss of a past class, relative to a new one. At 1 in "live" mode
            the losses of all classes add up as in the paper's code: one past class counts as much
            as the task's mean over one new class.
        replay_spread: standard deviation of the z of replays. Each generation of replays is less varied than
            the one before; a value above 1 works against that. It matters only where z also modulates the
            norms of the generator: a normalisation takes the length of its input away.
    """

    uses_snapshot = True

    def __init__(
        self,
        mode: Literal["buffer", "live"],
        buffer_per_class: Count | None,
        max_per_class: Count | None,
        replay_per_step: Count | None,
        min_real_share: Share,
        replay_weight: NonNegative,
        replay_spread: Positive,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.max_per_class = max_per_class
        self.replay_per_step = replay_per_step
        self.replay_weight = replay_weight
        self.replay_spread = replay_spread
        self.buffer = ReplayBuffer(buffer_per_class, replay_weight, min_real_share)

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """In "buffer" mode `batch_size` times the share of real images in real images and buffer together."""
        return batch_size if self.mode == "live" else self.buffer.real_per_step(task, batch_size, counts)

    def begin_task(self, context: Context) -> None:
        """Fill the buffer from the snapshot, determined by (snapshot, seed, task)."""
        if self.mode == "buffer":
            self.buffer.refill(context, lambda: self._replays(context))

    def _replays(self, context: Context) -> tuple[Tensor, Tensor]:
        labels = context.all_labels(context.task.past).repeat_interleave(self.buffer.size(context))
        return snapshot_images(context, labels, self.replay_spread), labels

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """Real images first, then replays."""
        if self.mode == "live" and context.task.past:
            return self._live_batch(images, labels, context)
        return self.buffer.fill_up(images, labels, context)

    def _live_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        task = context.task
        count = self.replay_per_step or context.batch_size
        replay_labels = context.labels(task.past, count)
        replay_weight = self.replay_weight * len(task.past) / len(task.classes)
        return TrainingBatch(
            torch.cat([images, context.replay(replay_labels, self.replay_spread).to(images.dtype)]),
            torch.cat([labels, replay_labels]),
            torch.cat([torch.full_like(labels, 1, dtype=images.dtype) / len(images),
                       torch.full_like(replay_labels, 1, dtype=images.dtype) * replay_weight / count]),
            len(images),
        )  # fmt: skip

    def asked_classes(self, task: Task) -> tuple[int, ...]:
        """All classes seen: the generator is trained on the mixture that the discriminator sees.

        The task's classes are repeated until they have about the minimum share.
        """
        share = self.buffer.min_real_share
        odds = share / (1 - share) * len(task.past) / len(task.classes)
        return task.past + task.classes * max(1, round(odds)) if task.past and odds > 1 else task.seen
