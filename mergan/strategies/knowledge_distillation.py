"""Knowledge distillation from the last generator (Lifelong GAN: Zhai et al. 2019, arXiv 1907.10107)."""

from __future__ import annotations

import torch
from torch import Tensor

from mergan.config.ranges import Count, NonNegative
from mergan.strategies.base import Strategy
from mergan.strategies.batches import Drawn
from mergan.strategies.context import Context


class KnowledgeDistillation(Strategy):
    """The generator in training imitates its snapshot, the teacher, on the conditions of past tasks.

        L_KD = weight * E_{z, c} mean over pixels of |G_t(z, c) - G_{t-1}(z, c)|

    with z ~ N(0, I) and c uniform over the past classes; images in [-1, 1]. Zhai et al. distil a BicycleGAN
    with the L1 norm: its images and the codes of its encoder. They do so on auxiliary inputs that they
    compose of the current task's images. The inputs of earlier tasks are gone, and on those of the current
    one distillation and training would contradict each other. Here all past labels can be asked for, so no
    input need be composed, and there is no encoder.

    It differs from replay_alignment in the norm and in the objective. The absolute error pulls at every pixel
    with the same force, however small its error; the squared error lets small errors pass, which add up over
    tasks. The force does not weaken near the teacher, so the images do not come to rest there. The objective
    keeps all its terms, as in the source, and so the classifier's; replay_alignment leaves those out by
    default, as the text of its source does.

    Args:
        weight: factor on the mean absolute error.
        batch_size: images to distil per step; null: the batch size of the training.
    """

    uses_snapshot = True

    def __init__(self, weight: NonNegative, batch_size: Count | None) -> None:
        super().__init__()
        self.weight = weight
        self.batch_size = batch_size

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        """The distillation loss, from the second task on."""
        past = context.task.past
        if not past:
            return {}
        count = self.batch_size or context.batch_size
        labels, z = context.labels(past, count), context.latent(count)
        with torch.no_grad():
            taught = context.snapshot(z, labels)
        return {"distillation": self.weight * (context.draw(z, labels) - taught).abs().mean()}
