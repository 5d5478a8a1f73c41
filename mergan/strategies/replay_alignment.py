"""Replay alignment (MeRGAN-RA: Wu et al. 2018, arXiv 1809.02058)."""

from __future__ import annotations

import torch
from torch import Tensor

from mergan.config.ranges import Count, NonNegative, Positive
from mergan.strategies.base import Strategy
from mergan.strategies.batches import Drawn
from mergan.strategies.context import Context


class ReplayAlignment(Strategy):
    """Aligns the generator with its snapshot on past classes: the same z and c must give the same image.

    The discriminator sees only real images of the task.

        L_RA = weight * (mean over batch, channels and pixels of E^2
                         + edges * mean of (E_right - E)^2 + edges * mean of (E_below - E)^2)
        E = G_t(z, c) - G_{t-1}(z, c)

    with z ~ N(0, I) and c uniform over the past classes; images in [-1, 1]. The terms with `edges` compare
    the differences between neighbouring pixels (image gradient difference, Mathieu et al. 2016, arXiv
    1511.05440, with squares). The squared error alone forgives fine patterns: their amplitude is small next
    to that of natural images. Over many tasks they add up to blurred digits under a grid of dots.

    Constants of other implementations convert as follows, with P = channels * height * width values per
    image. The paper's code takes sum(squares) / 2 over batches of 64/K images of each of the K past
    classes, averages over classes and multiplies by lambda. That is lambda * 64 * P / (2 K) times the
    mean squared error: 33/K for MNIST (lambda 1e-3, P = 1024), i.e. `weight=32.768
    divide_by_classes=true`, and 983/K for SVHN (lambda 1e-2, P = 3072). V2 multiplies the mean squared
    error by 0.1 to 1; use these values as `weight` directly.

    Args:
        weight: factor on the mean squared error.
        divide_by_classes: divide `weight` by the number of past classes, as the paper's code
            effectively does.
        batch_size: number of images to align per step; null: the batch size of the training.
        classifier: keep the classifier terms of the objective. For alignment, the paper's text drops
            them, but its code keeps them.
        replay_spread: the snapshot gets z times this factor, see JointRetrain.
        edges: factor on the squared error of the differences between neighbouring pixels.
    """

    uses_snapshot = True

    def __init__(
        self,
        weight: NonNegative,
        divide_by_classes: bool,
        batch_size: Count | None,
        classifier: bool,
        replay_spread: Positive,
        edges: NonNegative,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.divide_by_classes = divide_by_classes
        self.batch_size = batch_size
        self.uses_classifier = classifier
        self.replay_spread = replay_spread
        self.edges = edges

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        """The alignment loss, from the second task on."""
        past = context.task.past
        if not past:
            return {}
        count = self.batch_size or context.batch_size
        labels = self.aligned_labels(context, count)
        z = context.latent(len(labels))
        with torch.no_grad():
            target = context.snapshot(self.replay_spread * z, labels)
        return self.weighed(self.mean(self.errors(context.draw(z, labels), target), count), len(past))

    def aligned_labels(self, context: Context, count: int) -> Tensor:
        """The classes (n,) of the images to align, here `count` of them, drawn uniformly."""
        return context.labels(context.task.past, count)

    def mean(self, errors: Tensor, count: int) -> Tensor:
        """The mean of the errors (n,) of a step in which `count` images were asked for."""
        return errors.mean()

    def errors(self, images: Tensor, target: Tensor) -> Tensor:
        """The squared error (B,) of each image (B, C, S, S): mean over pixels, and that of the edges."""
        difference = images - target
        error = difference.square().flatten(1).mean(dim=1)
        if self.edges == 0:
            return error
        steps = [difference.diff(dim=axis).square().flatten(1).mean(dim=1) for axis in (2, 3)]
        return error + self.edges * (steps[0] + steps[1])

    def weighed(self, error: Tensor, num_past: int) -> dict[str, Tensor]:
        """The weighted loss for the mean `errors` of images of `num_past` classes."""
        return {"alignment": (self.weight / num_past if self.divide_by_classes else self.weight) * error}
