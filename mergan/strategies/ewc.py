"""Elastic weight consolidation of the generator, with the image as its observation."""

from __future__ import annotations

import torch
from torch import Tensor

from mergan.strategies.context import Context
from mergan.strategies.importance import ImportancePenalty


class EWC(ImportancePenalty):
    """Measures a weight's importance by its Fisher information (Kirkpatrick et al. 2017, arXiv 1612.00796):

        penalty = weight / 2 * sum_i F_i (theta_i - theta*_i)^2

    The Fisher information is that of the Gaussian observation model p(x | z, c; theta) =
    N(x; G(z, c), I), whose mean is the generated image. With J = dG(z, c) / d theta and P = channels *
    height * width values per image, its diagonal is

        F_i = 1/P * E_{z, c} [(J^T J)_ii] = 1/P * E_{z, c} E_{v ~ N(0, I)} [(d (v . G(z, c)) / d theta_i)^2]

    One v per image estimates the right side without bias. To second order, and with each weight taken
    separately, the penalty is the mean squared error between the images of generator and snapshot.
    Therefore `weight` / 2 is comparable to the `weight` of replay_alignment, which measures this error
    directly. But here the classes add up.

    Seff et al. use the discriminator's output for generated images as the likelihood
    (mergan.strategies.ewc_seff). The Fisher information used here shows which weights change the image.

    Args:
        weight: factor on the penalty.
        samples: generated images per task for the estimate of F.
        decay: factor on the F of earlier classes when a task ends (online EWC, see ImportancePenalty); 1
            keeps the sum over all classes.
        divide_by_classes: take the mean over the past classes, see ImportancePenalty.
    """

    def score(self, images: Tensor, labels: Tensor, context: Context, rng: torch.Generator) -> Tensor:
        """v . x / sqrt(P), with a separate v for each image."""
        values = images.flatten(1)
        directions = torch.randn(values.shape, generator=rng, device=images.device)
        return (directions * values).sum(dim=1) / values.shape[1] ** 0.5

    def measure(self, gradient: Tensor) -> Tensor:
        """The square."""
        return gradient.square()
