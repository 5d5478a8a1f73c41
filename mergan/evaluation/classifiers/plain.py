"""Three convolutions: enough for grey images."""

from __future__ import annotations

from typing import Any

from torch import nn

from mergan.config.ranges import Count
from mergan.evaluation.classifiers.base import Classifier


class Plain(Classifier):
    """Three strided convolutions with batch norm, one hidden layer of `num_features`, one linear layer.

    Args:
        channels: channels of the images.
        image_size: at least 16, a multiple of 8.
        num_classes, num_features, **training: see Classifier.
    """

    def __init__(
        self, channels: int, image_size: int, num_classes: int, num_features: Count, **training: Any
    ) -> None:
        trunk = nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 128, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128 * (image_size // 8) ** 2, num_features),
            nn.ReLU(),
        )
        super().__init__(trunk, num_features, num_classes, **training)
