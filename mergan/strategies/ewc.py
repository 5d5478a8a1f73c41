"""Elastic weight consolidation of the generator (Seff et al. 2017, arXiv 1705.08395)."""

from __future__ import annotations

import torch
from torch import Tensor

from mergan.strategies.importance import ImportancePenalty


class EWC(ImportancePenalty):
    """The importance of a weight is its Fisher information (Kirkpatrick et al. 2017, arXiv 1612.00796):

        penalty = weight / 2 * sum_i F_i (theta_i - theta*_i)^2

    What the Fisher information is taken of: the Gaussian observation model p(x | z, c; theta) =
    N(x; G(z, c), I), whose mean is the picture. With J = dG(z, c) / d theta and P = channels * height *
    width values in a picture its diagonal is

        F_i = 1/P * E_{z, c} [(J^T J)_ii] = 1/P * E_{z, c} E_{v ~ N(0, I)} [(d (v . G(z, c)) / d theta_i)^2]

    and the right side is estimated with one v for each picture, without bias. To second order the
    penalty is the mean squared error between the pictures of generator and snapshot, taking weights
    one by one: `weight` / 2 compares with the `weight` of replay_alignment, which measures that error
    instead of expanding it, except that here the classes add up.

    Seff et al. take the discriminator's verdict on generated images for the likelihood. That Fisher
    says which weights the discriminator of the last task would notice, vanishes where it is fooled
    or saturated (the better the generator, the less it is held), and depends on the scale of its
    logits; the one used here says which weights change the picture.

    Args:
        weight: factor on the penalty.
        samples: generated images per task that F is estimated from.
        decay: factor on the F of earlier classes when a task ends (gamma of online EWC, Schwarz et al.
            2018); 1: the sum over all classes.
        divide_by_classes: take the mean over the past classes, see ImportancePenalty.
    """

    def score(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """v . x / sqrt(P), with a v for each image."""
        directions = torch.randn(images.shape, generator=rng, device=images.device)
        return (directions * images).sum(dim=1) / images.shape[1] ** 0.5

    def measure(self, gradient: Tensor) -> Tensor:
        """The square."""
        return gradient.square()
