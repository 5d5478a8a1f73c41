"""Joint retraining on self-generated replays (MeRGAN-JTR: Wu et al. 2018, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mergan.data import denormalise, normalise
from mergan.errors import ConfigError
from mergan.scenario import Task
from mergan.strategies.base import Context, RealBatch, Strategy

GENERATION_BATCH = 256  # images the snapshot makes at a time while the buffer is filled


class JointRetrain(Strategy):
    """Discriminator and generator train on the task's real images together with replays
    x = G_{t-1}(z, c) of the classes c seen before.

    Args:
        mode: "buffer" generates the replays once, when the task begins, and every batch is a draw
            from real images and buffer together (V2). "live" makes fresh replays for every batch of
            `batch_size` real images (the paper's code).
        buffer_per_class: replays per past class ("buffer"); null stands for as many as a class of
            the task has real images on average, so that past and new classes are balanced. No more
            of them are made than the task can draw.
        max_per_class: real images per new class at most (V2 caps them to the buffer's size, to keep
            the classes balanced); null: all.
        replay_per_step: replays per batch of real images ("live"), drawn uniformly from the past
            classes; null: `batch_size`. The cost of a step does not grow with the number of classes.
        replay_weight: weight of the loss of a past class, relative to a new one. At 1 in "live" mode
            the losses of all classes add up as in the paper's code: one past class counts as much
            as the task's mean over one new class.

    Raises:
        ConfigError: unknown `mode`, a count below 1 or a negative weight.
    """

    def __init__(
        self,
        mode: str = "buffer",
        buffer_per_class: int | None = None,
        max_per_class: int | None = None,
        replay_per_step: int | None = None,
        replay_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if mode not in ("buffer", "live"):
            raise ConfigError(f"strategy.mode={mode}: use buffer or live")
        counts = {
            "buffer_per_class": buffer_per_class,
            "max_per_class": max_per_class,
            "replay_per_step": replay_per_step,
        }
        for name, count in counts.items():
            if count is not None and (not isinstance(count, int) or count < 1):
                raise ConfigError(f"strategy.{name}={count}: use a whole number of 1 or more, or null")
        if not isinstance(replay_weight, (int, float)) or not 0 <= replay_weight < float("inf"):
            raise ConfigError(f"strategy.replay_weight={replay_weight}: use a number of 0 or more")
        self.mode = mode
        self.buffer_per_class = buffer_per_class
        self.max_per_class = max_per_class
        self.replay_per_step = replay_per_step
        self.replay_weight = replay_weight
        self._buffer: tuple[int, Tensor, Tensor] | None = None  # task, images, labels

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """In "buffer" mode the share that the real images have in real images and buffer together."""
        if self.mode == "live" or not task.past:
            return batch_size
        real = sum(counts.values())
        return batch_size * real / (real + self._replays_per_class(counts) * len(task.past))

    def _replays_per_class(self, counts: Mapping[int, int]) -> float:
        return self.buffer_per_class or sum(counts.values()) / len(counts)

    def begin_task(self, context: Context) -> None:
        """Fill the buffer from the snapshot; the same images for the same (snapshot, seed, task)."""
        task = context.task
        if self.mode == "live" or not task.past:
            self._buffer = None
        elif self._buffer is None or self._buffer[0] != task.index:
            self._buffer = (task.index, *self._generate(context))

    def _generate(self, context: Context) -> tuple[Tensor, Tensor]:
        rng = torch.Generator(context.device).manual_seed(context.seed * 100_003 + context.task.index)
        past = torch.tensor(context.task.past, device=context.device)
        labels = past.repeat_interleave(self._buffer_size(context))
        images = []
        with torch.no_grad():
            for part in labels.split(GENERATION_BATCH):
                z = torch.randn(len(part), context.latent_dim, generator=rng, device=context.device)
                # kept as bytes, like the real images: a quarter of the memory, and no visible loss
                images.append(denormalise(context.snapshot(z, part)))
        return torch.cat(images), labels

    def _buffer_size(self, context: Context) -> int:
        """Replays per past class: those asked for, or as many as the task's steps can use up."""
        wanted = self._replays_per_class(context.counts)
        replays = context.batch_size - self.real_per_step(context.task, context.batch_size, context.counts)
        drawn = context.discriminator_steps * replays / len(context.task.past)
        return max(1, math.ceil(wanted if self.buffer_per_class else min(wanted, drawn)))

    def real_batch(self, images: Tensor, labels: Tensor, context: Context) -> RealBatch:
        """Real images first, then replays."""
        if not context.task.past:
            return RealBatch.uniform(images, labels)
        if self.mode == "live":
            return self._live_batch(images, labels, context)
        assert self._buffer is not None
        _, pool, pool_labels = self._buffer
        count = context.batch_size - len(images)
        picks = torch.randint(len(pool), (count,), generator=context.rng, device=context.device)
        weights = torch.ones(context.batch_size, device=context.device)
        weights[len(images) :] = self.replay_weight
        return RealBatch(
            torch.cat([images, normalise(pool[picks])]),
            torch.cat([labels, pool_labels[picks]]),
            weights / context.batch_size,
            context.batch_size,
        )

    def _live_batch(self, images: Tensor, labels: Tensor, context: Context) -> RealBatch:
        task = context.task
        count = self.replay_per_step or context.batch_size
        replay_labels = context.labels(task.past, count)
        replay_weight = self.replay_weight * len(task.past) / len(task.classes)
        return RealBatch(
            torch.cat([images, context.replay(replay_labels).to(images.dtype)]),
            torch.cat([labels, replay_labels]),
            torch.cat([torch.full_like(labels, 1, dtype=images.dtype) / len(images),
                       torch.full_like(replay_labels, 1, dtype=images.dtype) * replay_weight / count]),
            len(images),
        )  # fmt: skip

    def fake_classes(self, task: Task) -> tuple[int, ...]:
        """All classes seen: the generator is trained on the mixture that the discriminator sees."""
        return task.seen
