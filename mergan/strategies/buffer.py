"""A buffer of replays, and how replays and real images are mixed in a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mergan.data import denormalise, normalise
from mergan.scenarios.base import Task
from mergan.strategies.batches import TrainingBatch
from mergan.strategies.context import Context
from mergan.system import processes, whole_batch

GENERATION_BATCH = 256  # images that the snapshot generates at a time


class ReplayBuffer:
    """Images of past classes that stay fixed throughout a task.

    Every batch is a draw from the task's real images and the buffer together. Real images appear with
    their share of the total, or with a minimum share. Replays, drawn with replacement, fill the rest.

    The buffer is not part of a strategy's saved state. The strategy fills it at the start of the task
    from saved state (the snapshot, a memory of real images).

    Args:
        per_class: replays per past class that determine the shares. None: the average number of real
            images per class of the task, which balances past and new classes.
        weight: weight of a replay in the discriminator's loss, relative to a real image.
        min_real_share: minimum share of real images in a batch.
        real_share: share of real images in a batch, whatever the numbers of classes; None: as above.
    """

    def __init__(
        self,
        per_class: int | None = None,
        weight: float = 1.0,
        min_real_share: float = 0.0,
        real_share: float | None = None,
    ) -> None:
        self.per_class = per_class
        self.weight = weight
        self.min_real_share = min_real_share
        self.real_share = real_share
        self.images = torch.empty(0)  # uint8 (N, C, S, S)
        self.labels = torch.empty(0)  # int64 (N,)
        self._task: int | None = None  # index of the task that the replays belong to

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """Average number of real images in a batch: `batch_size` times their share; see Strategy."""
        if not task.past:
            return batch_size
        if self.real_share is not None:
            return batch_size * self.real_share
        real = sum(counts.values())
        share = real / (real + self._per_class(counts) * len(task.past))
        return batch_size * max(share, self.min_real_share)

    def _per_class(self, counts: Mapping[int, int]) -> float:
        return self.per_class or sum(counts.values()) / len(counts)

    def size(self, context: Context) -> int:
        """Replays needed per past class: `per_class`, else the average, capped at what the task can draw."""
        return self.needed(context.task, context.batch_size, context.counts, context.num_batches)

    def needed(self, task: Task, batch_size: int, counts: Mapping[int, int], num_batches: int) -> int:
        """The same, of a task with past classes that has not begun; see Context for the arguments."""
        wanted = self._per_class(counts)
        batch = batch_size * processes.me().count
        replays = batch - self.real_per_step(task, batch, counts)
        drawn = num_batches * replays / len(task.past)
        return max(1, math.ceil(wanted if self.per_class else min(wanted, drawn)))

    def refill(self, context: Context, replays: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Fill the buffer once per task; without past classes it stays empty.

        Args:
            context: the state of the training.
            replays: creates uint8 images (N, C, S, S) and their labels (N,); not called if the buffer
                already holds those of this task.
        """
        if self._task != context.task.index:
            self._task = context.task.index
            self.images, self.labels = torch.empty(0), torch.empty(0)  # freed before the new ones are made
            if context.task.past:
                self.images, self.labels = replays()

    def picks(self, context: Context, total: int, first: int) -> Tensor:
        """Which replays fill up a batch; here drawn with replacement. See Context.picks."""
        return context.picks(len(self.images), total, first=first)

    def draw(self, count: int, context: Context) -> TrainingBatch:
        """A batch of `count` replays of equal weight in each process; there must be past classes."""
        picks = context.picks(len(self.images), whole_batch.total(count))
        return TrainingBatch.uniform(normalise(self.images[picks]), self.labels[picks])

    def fill_up(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """Fill a batch up with replays, after its real images (n, C, S, S) and labels (n,)."""
        if not context.task.past:
            return TrainingBatch.uniform(images, labels)
        real = len(images) if context.real_images is None else context.real_images
        picks = self.picks(context, whole_batch.total(context.batch_size) - real, real)
        weights = torch.ones(context.batch_size, device=context.device)
        weights[len(images) :] = self.weight
        return TrainingBatch(
            torch.cat([images, normalise(self.images[picks])]),
            torch.cat([labels, self.labels[picks]]),
            weights / context.batch_size,
            context.batch_size,
        )


@torch.no_grad()
def snapshot_images(context: Context, labels: Tensor, spread: float = 1.0) -> Tensor:
    """Images uint8 (N, C, S, S) of the snapshot for labels (N,), determined by (snapshot, seed, task).

    Like the real images they are stored as bytes: a quarter of the memory, no visible loss.

    Args:
        context: the state of the training.
        labels: one per image.
        spread: standard deviation of z.
    """
    rng = context.task_rng()
    images = torch.empty(0)
    for start, part in zip(
        range(0, len(labels), GENERATION_BATCH), labels.split(GENERATION_BATCH), strict=True
    ):
        z = torch.randn(len(part), context.latent_dim, generator=rng, device=context.device)
        made = denormalise(context.snapshot(spread * z, part))
        if start == 0:  # a list of parts, put together at the end, would need the memory twice
            images = made.new_empty(len(labels), *made.shape[1:])
        images[start : start + len(part)] = made
    return images
