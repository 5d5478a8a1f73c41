"""Averaged gradient episodic memory (A-GEM: Chaudhry et al. 2019, arXiv 1812.00420)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mergan.config.ranges import Count
from mergan.strategies.batches import Update
from mergan.strategies.buffer import ReplayBuffer
from mergan.strategies.context import Context
from mergan.strategies.memory import RealMemory
from mergan.strategies.vectors import flat
from mergan.system import whole_batch


class AGEM(RealMemory):
    """Takes no step that, to first order, increases the loss on a memory of real images.

    With g the gradient of a loss on the data of the task, and r that of the same loss on a batch of stored
    images of past classes, the step follows (eq. 11)

        g' = g                          if g . r >= 0
        g' = g - (g . r) / (r . r) r    otherwise,  so that g' . r = 0

    Chaudhry et al. define this for one network and one loss. Here every network is projected with its own
    loss: the discriminator's on stored images against generated ones of their classes, the generator's on
    images that it generates for these classes. Penalties and mode seeking belong to g alone. The memory is
    that of RealMemory; the images are used for r and for nothing else. So the discriminator is never trained
    to tell past classes, but only kept from unlearning them.

    Adam moves along g' divided by the root of its second moments, and its first moments hold earlier
    gradients. So the step itself may still raise the loss on the memory. The authors use SGD.

    Args:
        batch_size: stored images per step, for each network; null: the batch size of the training.
        **memory: capacity and unit, see RealMemory.
    """

    needs = frozenset({"loss_on"})

    def __init__(self, batch_size: Count | None, **memory: Any) -> None:
        super().__init__(**memory)
        self.batch_size = batch_size
        self.buffer = ReplayBuffer()

    def begin_task(self, context: Context) -> None:
        """Prepare the stored images of the past classes."""
        self.buffer.refill(context, lambda: self.held(context.task.past))

    def optimise(self, update: Update, context: Context) -> None:
        """Project the gradient, then take the step."""
        if context.task.past:
            self._project(update, context)
        update.take()

    def _project(self, update: Update, context: Context) -> None:
        weights = [weight for weight in update.weights if weight.grad is not None]
        stored = self.buffer.draw(self.batch_size or context.batch_size, context)
        found = torch.autograd.grad(update.loss_on(stored), weights, materialize_grads=True)
        reference = whole_batch.mean(flat(found))
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        projected = project(flat(gradients), reference)
        parts = projected.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def project(gradient: Tensor, reference: Tensor) -> Tensor:
    """The vector nearest to `gradient` (W,) whose product with `reference` (W,) is not negative."""
    against = (gradient @ reference).clamp(max=0)
    square = (reference @ reference).clamp(min=torch.finfo(reference.dtype).tiny)
    return gradient - against / square * reference
