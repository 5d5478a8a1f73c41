"""Nearest up-sampling followed by a 3x3 convolution, in 25 matrix products per 2x2 input pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mergan.networks.fast.pair_products import PairProducts


class UpsampleConv2d(nn.Conv2d):
    """Nearest up-sampling by 2, then a 3x3 convolution with padding 1, without the up-sampled image.

    Along an axis, let a and b be two neighbours, p the pixel before and n the pixel after them. Let w0, w1
    and w2 be the taps and s their sum. The four output pixels of a and b are

        s a - w0 (a - p),   s a + w2 (b - a),   s a + (w1 + w2) (b - a)   and   s n - (w0 + w1) (n - b),

    where s n is the next pair's s a. So four pixels need five products, and the sixteen pixels of two axes
    need 25. The equivalent transposed convolution needs 64, and the convolution of the up-sampled image 144.
    (This is Winograd's minimal filtering at 0, 1 and infinity, see Lavin and Gray 2016, arXiv 1509.09308, for
    the two filters of the even and the odd pixels. Both have the sum s, so they share its product.)

    Parameters and initialisation are those of the 3x3 convolution. On devices other than CPUs, and for
    images with odd height or width, the transposed convolution is used.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in_channels, H, W) -> (B, out_channels, 2 H, 2 W); with 25 products it is channels last."""
        assert self.bias is not None
        if x.device.type != "cpu" or x.shape[2] % 2 or x.shape[3] % 2:
            return self.as_transposed(x)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        image: Tensor = PairProducts.apply(x.permute(0, 2, 3, 1), self.weight, self.bias)  # type: ignore[no-untyped-call]
        return image.permute(0, 3, 1, 2)

    def as_transposed(self, x: Tensor) -> Tensor:
        """The same by the equivalent transposed convolution, which keeps the memory format of x."""
        kernel = transposed_kernel(self.weight)
        return nn.functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)

    def plain(self) -> nn.ConvTranspose2d:
        """The equivalent transposed convolution, with weights of its own (mergan.networks.plain)."""
        plain = nn.ConvTranspose2d(self.in_channels, self.out_channels, kernel_size=4, stride=2, padding=1)
        plain.weight, plain.bias = nn.Parameter(transposed_kernel(self.weight.detach())), self.bias
        return plain


class TransposedUpsampleConv2d(UpsampleConv2d):
    """UpsampleConv2d by the equivalent transposed convolution on every device.

    With few output channels this takes no longer than the 25 products, whose streams of the input then weigh
    more than what they save. It can be differentiated any number of times.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in_channels, H, W) -> (B, out_channels, 2 H, 2 W), in the memory format of x."""
        return self.as_transposed(x)


def transposed_kernel(weight: Tensor) -> Tensor:
    """The kernel (C_in, C_out, 4, 4) of the equivalent transposed convolution with stride 2 and padding 1.

    It equals nearest up-sampling followed by the convolution with `weight` (C_out, C_in, 3, 3).
    """
    return _four_taps(_four_taps(weight, 2), 3).transpose(0, 1)


def _four_taps(weight: Tensor, dim: int) -> Tensor:
    """The taps of a transposed convolution with stride 2: w2, w1 + w2, w0 + w1 and w0."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([last, middle + last, first + middle, first], dim)
