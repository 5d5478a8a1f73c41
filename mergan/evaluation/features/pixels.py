"""Averaged pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mergan.config.ranges import Count
from mergan.evaluation.features.base import FeatureSpace


class Pixels(FeatureSpace):
    """The images averaged to `size` x `size` pixels, in [0, 1]: D = channels * size * size.

    Colours, brightness and the layout of large parts show, details do not.

    Args:
        size: side of the averaged images. If it divides the side of the images, each value is the mean of a
            square block; otherwise the blocks overlap (torch's adaptive_avg_pool2d).
    """

    def __init__(self, size: Count) -> None:
        self.size = size

    def __call__(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images.double() / 255, self.size).flatten(1)
