"""Memory aware synapses on the generator's pictures (Aljundi et al. 2018, arXiv 1711.09601)."""

from __future__ import annotations

import torch
from torch import Tensor

from mergan.strategies.importance import ImportancePenalty


class MAS(ImportancePenalty):
    """The importance of a weight is how much the output's squared norm changes with it (eq. 2 to 4 of
    Aljundi et al., the output being the picture G(z, c) with its P = channels * height * width values):

        penalty = weight / 2 * sum_i Omega_i (theta_i - theta*_i)^2
        Omega_i = E_{z, c} |d (||G(z, c)||_2^2 / P) / d theta_i|

    The paper writes lambda for weight / 2, and leaves the output undivided; dividing by P keeps `weight`
    independent of the image size. Unlike the Fisher information it needs no likelihood, and grows with
    the slope instead of its square, so that weights differ less in importance. A change that leaves
    the norm of a picture as it is costs nothing to first order.

    Args:
        weight: factor on the penalty.
        samples: generated images per task that Omega is estimated from.
        decay: factor on the Omega of earlier classes when a task ends; 1 (the paper): their sum.
        divide_by_classes: take the mean over the past classes, see ImportancePenalty.
    """

    def score(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """The mean square of each image."""
        return images.square().mean(dim=1)

    def measure(self, gradient: Tensor) -> Tensor:
        """The absolute value."""
        return gradient.abs()
