"""A small residual network, for colour images."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from mergan.config.ranges import Count
from mergan.evaluation.classifiers.base import Classifier

LARGEST = 32  # pixels; larger images are averaged


class Residual(Classifier):
    """One strided convolution, three residual blocks (He et al. 2016, arXiv 1512.03385, figure 2), one hidden
    layer of `num_features`, one linear layer.

    Args:
        channels: channels of the images.
        image_size: at least 16. Images of 64 pixels or more are averaged in blocks, to fewer than 64.
        width: channels after the first convolution; the last block has four times as many.
        num_classes, num_features, **training: see Classifier.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_classes: int,
        width: Count,
        num_features: Count,
        **training: Any,
    ) -> None:
        blocks = max(1, image_size // LARGEST)
        side = image_size // blocks
        for _ in range(3):  # each halving rounds up
            side = -(-side // 2)
        trunk = nn.Sequential(
            nn.AvgPool2d(blocks),
            nn.Conv2d(channels, width, kernel_size=5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            Block(width, width, stride=1),
            Block(width, 2 * width, stride=2),
            Block(2 * width, 4 * width, stride=2),
            nn.Flatten(),
            nn.Linear(4 * width * side**2, num_features),
            nn.ReLU(),
        )
        super().__init__(trunk, num_features, num_classes, **training)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution if the shape changes.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: 1, or 2 to halve the sides; the shortcut then averages.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.short = nn.Sequential()
        if stride > 1:
            self.short.append(nn.AvgPool2d(stride, ceil_mode=True))
        if inputs != outputs:
            self.short.append(nn.Conv2d(inputs, outputs, kernel_size=1, bias=False))
            self.short.append(nn.BatchNorm2d(outputs))

    def forward(self, images: Tensor) -> Tensor:
        """images (B, inputs, S, S) -> (B, outputs, S / stride, S / stride)."""
        return F.relu(self.deep(images) + self.short(images))
