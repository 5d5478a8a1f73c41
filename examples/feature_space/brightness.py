"""A feature space: how bright an image is, and how strong its contrast."""

from __future__ import annotations

import torch
from torch import Tensor

from mergan.config.ranges import Positive
from mergan.evaluation.features import FeatureSpace


class Brightness(FeatureSpace):
    """Mean and standard deviation of the pixels, (N, 2).

    Args:
        white: the value of white; the features of images in bytes, 0 to 255, are divided by 255 / white.
    """

    def __init__(self, white: Positive) -> None:
        self.white = white

    def __call__(self, images: Tensor) -> Tensor:
        pixels = images.double().flatten(1) * self.white / 255
        return torch.stack([pixels.mean(dim=1), pixels.std(dim=1)], dim=1)
