"""Memory aware synapses on the generator's images (Aljundi et al. 2018, arXiv 1711.09601)."""

from __future__ import annotations

import torch
from torch import Tensor

from mergan.strategies.context import Context
from mergan.strategies.importance import ImportancePenalty


class MAS(ImportancePenalty):
    """Measures the importance of a weight by how much it changes the output's squared norm.

    Omega is eq. 2 of Aljundi et al. for the squared norm of the output. The output is the image G(z, c) with
    P = channels * height * width values:

        penalty = weight / 2 * sum_i Omega_i (theta_i - theta*_i)^2
        Omega_i = E_{z, c} |d (||G(z, c)||_2^2 / P) / d theta_i|

    The paper writes lambda for weight / 2 and does not divide the output. Dividing by P makes `weight`
    independent of the image size. Unlike the Fisher information, Omega needs no likelihood. It grows with
    the slope instead of its square, so weights differ less in importance. A change that keeps the norm of
    an image costs nothing to first order.

    Args:
        weight: factor on the penalty.
        samples: generated images per task for the estimate of Omega.
        decay: factor on the Omega of earlier classes when a task ends; 1 (the paper's code) keeps their
            sum.
        divide_by_classes: take the mean over the past classes, see ImportancePenalty.
    """

    def score(self, images: Tensor, labels: Tensor, context: Context, rng: torch.Generator) -> Tensor:
        """The mean square of each image."""
        return images.flatten(1).square().mean(dim=1)

    def measure(self, gradient: Tensor) -> Tensor:
        """The absolute value of the gradient."""
        return gradient.abs()
