"""A small image classifier that keeps learning task after task."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from mergan.networks.layers import num_doublings

BASE = 4  # resolution of the last feature map


class Solver(nn.Module):
    """[4x4 convolution with stride 2, ReLU] x n -> linear.

    It has no batch normalisation, whose statistics would be those of the last task.

    Args:
        num_classes: classes of the data set.
        channels: channels of the images.
        image_size: 16, 32, 64 or 128.
        width: channels of the first feature map; each later one has twice as many.
    """

    def __init__(self, num_classes: int, channels: int, image_size: int, width: int) -> None:
        super().__init__()
        widths = [channels, *(width * 2**i for i in range(num_doublings(image_size, BASE)))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(widths[-1] * BASE * BASE, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, channels, S, S) in [-1, 1] -> class logits (B, num_classes)."""
        return self.head(self.trunk(images))
