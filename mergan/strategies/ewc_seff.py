"""Elastic weight consolidation as published for GANs (Seff et al. 2017, arXiv 1705.08395)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mergan.strategies.context import Context
from mergan.strategies.importance import ImportancePenalty


class EWCSeff(ImportancePenalty):
    """EWC of the generator, with the discriminator's output as the likelihood.

        penalty = weight / 2 * sum_i F_i (theta_i - theta*_i)^2
        F_i = E_{z, c} [(d log D(G(z, c), c) / d theta_i)^2]

    D is the discriminator at the end of the task: the sigmoid of its adversarial logit. F shows which weights
    that discriminator would notice. It vanishes where the discriminator is saturated, and it depends on the
    scale of the logits, so `weight` means something else for every objective. mergan.strategies.ewc measures
    the change of the image instead.

    The sum over tasks and the anchor are those of ImportancePenalty. Seff et al. write lambda for `weight`.
    The critic of objective=wasserstein_gp gives no likelihood; its logit is taken for one.

    Args:
        weight: factor on the penalty.
        samples: generated images per task for the estimate of F.
        decay: factor on the F of earlier classes when a task ends; 1 keeps the sum over all classes.
        divide_by_classes: take the mean over the past classes, see ImportancePenalty.
    """

    needs = frozenset({"discriminator"})

    def score(self, images: Tensor, labels: Tensor, context: Context, rng: torch.Generator) -> Tensor:
        """log D(x, c), with the discriminator in eval mode."""
        critic = context.discriminator
        assert critic is not None  # see `needs`
        training = critic.training
        logits: Tensor = critic.eval()(images, labels)[0]
        critic.train(training)
        return nn.functional.logsigmoid(logits.float())

    def measure(self, gradient: Tensor) -> Tensor:
        """The square."""
        return gradient.square()
