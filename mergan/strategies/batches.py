"""The data of a training step: what the generator is asked for and draws, what counts as real, an update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Drawn(NamedTuple):
    """A batch that the generator draws in a training step.

    Attributes:
        z: (B, latent_dim).
        labels: (B,), the requested classes.
        images: G(z, c), (B, C, S, S) in [-1, 1], with their autograd graph.
        shares: (B,), the share of each image in the losses, see Asked.
    """

    z: Tensor
    labels: Tensor
    images: Tensor
    shares: Tensor | None = None


class Asked(NamedTuple):
    """What a learner asks its generator for in a training step.

    Attributes:
        labels: (B,), the requested classes.
        shares: (B,), the share of each image in the losses, with a sum of 1 (the mean of the sums, where
            several processes share a batch); None: equal shares.
    """

    labels: Tensor
    shares: Tensor | None = None


@dataclass
class TrainingBatch:
    """The data that a learner treats as real in a step: real images, and images of past classes.

    Attributes:
        images: (B, C, S, S) in [-1, 1].
        labels: (B,).
        weights: (B,), the weight of each sample in the loss; for a plain average 1/B each.
        regularised: number of leading images at which a learner computes its penalties.
        adversarial_weights: (B,), the weights in the adversarial loss of a GAN; None: `weights`, which then
            are those of the classifier's loss only.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    regularised: int
    adversarial_weights: Tensor | None = None

    @property
    def adversarial(self) -> Tensor:
        """The weights (B,) in the adversarial loss."""
        return self.weights if self.adversarial_weights is None else self.adversarial_weights

    @classmethod
    def uniform(cls, images: Tensor, labels: Tensor) -> TrainingBatch:
        """A batch in which every sample has the same weight."""
        weights = torch.full((len(images),), 1 / len(images), device=images.device)
        return cls(images, labels, weights, len(images))


class Update(NamedTuple):
    """An optimizer step that a learner is about to take.

    Attributes:
        name: name of the optimizer, as in ContinualLearner.trained.
        of_generator: whether it updates the generator.
        weights: what it updates. Their `grad` holds the gradient of the loss, the mean over all processes; it
            is None for weights that the loss does not depend on.
        loss_on: the learner's loss of this update on other data, without penalties and terms of the strategy;
            only with `Strategy.needs`.
        take: takes the step.
    """

    name: str
    of_generator: bool
    weights: Sequence[nn.Parameter]
    loss_on: Callable[[TrainingBatch], Tensor]
    take: Callable[[], Any]
