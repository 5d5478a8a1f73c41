"""3x3 convolution followed by average pooling, in one convolution with stride 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PooledConv2d(nn.Conv2d):
    """A 3x3 convolution with padding 1, then the mean of every 2x2 pixels, without the unpooled image.

    Along an axis, let w0, w1 and w2 be the taps. The mean of two neighbouring outputs sees four pixels, with
    the taps w0, w0 + w1, w1 + w2 and w2, halved. So both steps together are a 4x4 convolution with stride 2:
    16 products per output pixel instead of 36. It can be differentiated any number of times.

    Parameters and initialisation are those of the 3x3 convolution. Height and width must be even.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in_channels, H, W) -> (B, out_channels, H / 2, W / 2)."""
        return nn.functional.conv2d(x, pooled_kernel(self.weight), self.bias, stride=2, padding=1)


def pooled_kernel(weight: Tensor) -> Tensor:
    """The kernel (C_out, C_in, 4, 4) of the equivalent convolution with stride 2 and padding 1.

    It equals the convolution with `weight` (C_out, C_in, 3, 3), followed by average pooling.
    """
    return _mean_taps(_mean_taps(weight, 2), 3)


def _mean_taps(weight: Tensor, dim: int) -> Tensor:
    """The halved taps w0, w0 + w1, w1 + w2 and w2."""
    first, middle, last = (weight / 2).unbind(dim)
    return torch.stack([first, first + middle, middle + last, last], dim)
