"""Joint retraining with a small batch per past class, as in the code of Memory Replay GANs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mergan.scenarios.base import Task
from mergan.strategies.batches import Asked, TrainingBatch
from mergan.strategies.context import Context
from mergan.strategies.joint_retrain import JointRetrain
from mergan.system import whole_batch
from mergan.system.errors import ConfigError


class ClasswiseRetrain(JointRetrain):
    """JointRetrain with live replays in which each class has a mean of its own, and the means are added.

        L_D = L_D(task) + sum over past classes c of replay_weight * L_c
        L_c = mean over D(G_t(z, c)) - mean over D(G_{t-1}(z, c)) + mean over CE(C(G_{t-1}(z, c)), c)

    for the Wasserstein loss, and likewise for L_G. For each past class there are N // K replays and as many
    generated images, where K is the number of past classes and N is `replay_per_step`. The task's classes
    have the whole batch size of real and of generated images, and only pairs of these are in a gradient
    penalty. JointRetrain in "live" mode has the same expected losses, but draws all classes at random and
    computes the penalty between real images and generated ones of any class.

    Args:
        **retraining: see JointRetrain; `mode` is "live", and `replay_per_step` is shared by the past classes.

    Raises:
        ConfigError: another mode.
    """

    def __init__(self, **retraining: Any) -> None:
        super().__init__(**retraining)
        if self.mode != "live":
            raise ConfigError(
                f"strategy.mode={self.mode}: ClasswiseRetrain generates its replays in every step; use live"
            )

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """Real images first, then the replays, class by class."""
        if not context.task.past:
            return TrainingBatch.uniform(images, labels)
        real = len(images) if context.real_images is None else context.real_images
        past, of_past = self._of_past(context, real)
        replays = context.replay(past, self.replay_spread).to(images.dtype)
        of_real = torch.full_like(of_past[:1], whole_batch.total(1) / real).expand(len(images))
        weights = torch.cat([of_real, of_past])
        return TrainingBatch(torch.cat([images, replays]), torch.cat([labels, past]), weights, len(images))

    def asked(self, context: Context, count: int) -> Asked:
        """`count` images of the task's classes first, then those of the past classes, class by class."""
        labels = context.labels(context.task.classes, count)
        if not context.task.past:
            return Asked(labels)
        past, of_past = self._of_past(context, whole_batch.total(count))
        of_new = torch.full_like(of_past[:1], 1 / count).expand(count)
        weights = torch.cat([of_new, of_past])
        total = 1 + self.past_weight(context.task) * len(context.task.past)
        return Asked(torch.cat([labels, past]), weights / total)

    def replays_of_a_step(self, context: Context) -> int:
        """The number of replays that the past classes share."""
        return self.replay_per_step or context.batch_size

    def past_weight(self, task: Task) -> float:
        """The weight of a past class; the task's classes have 1 together."""
        return self.replay_weight / len(task.classes)

    def _of_past(self, context: Context, first: int) -> tuple[Tensor, Tensor]:
        """Labels (n,) of the images of past classes, and the weight (n,) of each in the loss."""
        past, count = context.task.past, self.replays_of_a_step(context)
        labels = context.each_label(past, count, first)
        weight = self.past_weight(context.task) * len(past) / len(labels)
        return labels, torch.full(labels.shape, weight, device=context.device)
