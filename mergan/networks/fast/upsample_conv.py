"""Nearest up-sampling followed by a 3x3 convolution, in 25 matrix products per two by two pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mergan.networks.fast.pair_products import PairProducts


class UpsampleConv2d(nn.Conv2d):
    """Nearest up-sampling by 2, then a 3x3 convolution with padding 1, without the up-sampled picture.

    Along an axis, take two neighbours a and b, with p before and n after them, the taps w0, w1 and w2 and
    their sum s. The four pixels that a and b become are

        s a - w0 (a - p),   s a + w2 (b - a),   s a + (w1 + w2) (b - a)   and   s n - (w0 + w1) (n - b),

    where s n is the next pair's s a. That makes five products for four pixels, 25 for the sixteen of two
    axes, where the transposed convolution that equals both steps takes 64 and the convolution of the
    up-sampled picture 144. (It is the minimal filtering of Winograd at 0, 1 and infinity, see Lavin and Gray
    2016, arXiv 1509.09308, for the two filters that the even and the odd pixels see: both have the sum s, so
    that they share its product.)

    Parameters and initialisation are those of the 3x3 convolution. Devices other than CPUs, and pictures of
    odd height or width, take the transposed convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in_channels, H, W) -> (B, out_channels, 2 H, 2 W), channels last in 25 products."""
        assert self.bias is not None
        if x.device.type != "cpu" or x.shape[2] % 2 or x.shape[3] % 2:
            kernel = transposed_kernel(self.weight)
            return nn.functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        image: Tensor = PairProducts.apply(x.permute(0, 2, 3, 1), self.weight, self.bias)  # type: ignore[no-untyped-call]
        return image.permute(0, 3, 1, 2)


def transposed_kernel(weight: Tensor) -> Tensor:
    """The kernel (C_in, C_out, 4, 4) of the transposed convolution with stride 2 and padding 1 that equals
    nearest up-sampling followed by the convolution with `weight` (C_out, C_in, 3, 3).
    """
    return _four_taps(_four_taps(weight, 2), 3).transpose(0, 1)


def _four_taps(weight: Tensor, dim: int) -> Tensor:
    """The taps of a transposed convolution with stride 2: w2, w1 + w2, w0 + w1 and w0."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([last, middle + last, first + middle, first], dim)
