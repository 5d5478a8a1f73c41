"""Convolutions from or to very few channels, for which CPU kernels are slow. Other devices use their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

Pair = tuple[int, ...]  # values along height and width


def scatter_patches(x: Tensor, weight: Tensor, size: Sequence[int], stride: Pair, padding: Pair) -> Tensor:
    """A transposed convolution to very few channels, without groups or dilation.

    One matrix product gives every input position its patch of the output. Overlapping patches are summed up.
    For one to four channels this takes a fifth to a half of the time of CPU convolution kernels, which
    process 16 channels at a time.

    Args:
        x: (B, C_in, H, W).
        weight: (C_in, C_out, kernel, kernel).
        size: (H', W') of the output.
        stride: stride of the transposed convolution.
        padding: padding of the transposed convolution.

    Returns:
        (B, C_out, H', W').
    """
    kernels = weight.flatten(1)
    taps = kernels.shape[1]
    # the second way needs a copy of x, the first one of the patches, which pays for a single channel
    if weight.shape[1] == 1 and x.is_contiguous(memory_format=torch.channels_last):
        whole = nn.functional.pad(
            kernels, (0, -taps % 16)
        )  # products with 9 columns take three times as long as with 16
        patches = (x.permute(0, 2, 3, 1).flatten(1, 2) @ whole)[..., :taps].transpose(1, 2)
    else:
        # equals `kernels.t() @ x`, which would transpose all of x
        patches = torch.bmm(kernels.t().expand(len(x), -1, -1), x.flatten(2))
    return nn.functional.fold(patches, tuple(size), weight.shape[2:], padding=padding, stride=stride)


def _saved(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
    """The saved tensors in the type of the gradient; autocast may use another one."""
    return tuple(saved.to(gradient.dtype) for saved in ctx.saved_tensors)


class _ThinTransposed(torch.autograd.Function):
    """`scatter_patches` with PyTorch's own kernels for the gradients, where they are fast."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, size: Sequence[int], stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return scatter_patches(x, weight, size, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = _saved(ctx, gradient)
        by_x = by_weight = None
        if ctx.needs_input_grad[0]:
            by_x = conv2d(gradient, weight, None, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            by_weight = conv2d_weight(gradient, weight.shape, x, ctx.stride, ctx.padding)
        return by_x, by_weight, None, None, None


class ThinConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution to very few channels, whose output `scatter_patches` computes.

    Parameters and initialisation are those of the base class. It can be differentiated any number of times.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """x (B, C_in, H, W) -> (B, C_out, H', W'), as the base class."""
        if x.device.type != "cpu":
            return super().forward(x, output_size)
        assert isinstance(self.padding, tuple)  # a transposed convolution accepts no string here
        sides = zip(
            x.shape[2:], self.kernel_size, self.stride, self.padding, self.output_padding, strict=True
        )
        size = [
            (side - 1) * stride + kernel - 2 * padding + more for side, kernel, stride, padding, more in sides
        ]
        image = _ThinTransposed.apply(x, self.weight, size, self.stride, self.padding)  # type: ignore[no-untyped-call]
        return image if self.bias is None else image + self.bias[:, None, None]

    def plain(self) -> nn.ConvTranspose2d:
        """The base class with the same parameters (mergan.networks.plain)."""
        sides: Any = self.kernel_size, self.stride, self.padding, self.output_padding
        plain = nn.ConvTranspose2d(self.in_channels, self.out_channels, *sides)
        plain.weight, plain.bias = self.weight, self.bias
        return plain


class ThinInputConv2d(nn.Conv2d):
    """A convolution of very few channels; `scatter_patches` computes the gradient of its input.

    Parameters, initialisation and output are those of the base class; no groups, no dilation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C_in, H, W) -> (B, C_out, H', W'), as the base class."""
        if x.device.type != "cpu" or not x.requires_grad:
            return super().forward(x)
        return _ThinConvolution.apply(x, self.weight, self.bias, self.stride, self.padding)  # type: ignore[no-any-return]


class ThinOutputConv2d(nn.Conv2d):
    """A convolution to very few channels with stride 1, whose output `scatter_patches` computes.

    It equals the transposed convolution with the flipped kernel. Parameters and initialisation are those of
    the base class; no groups, no dilation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C_in, H, W) -> (B, C_out, H', W'), as the base class."""
        if x.device.type != "cpu":
            return super().forward(x)
        assert isinstance(self.padding, tuple)
        outer = tuple(
            kernel - 1 - padding for kernel, padding in zip(self.kernel_size, self.padding, strict=True)
        )
        size = [
            side - 2 * padding + kernel - 1
            for side, kernel, padding in zip(x.shape[2:], self.kernel_size, outer, strict=True)
        ]
        kernel = self.weight.flip(2, 3).transpose(0, 1)
        image = _ThinTransposed.apply(x, kernel, size, (1, 1), outer)  # type: ignore[no-untyped-call]
        return image if self.bias is None else image + self.bias[:, None, None]

    def plain(self) -> nn.Conv2d:
        """The base class with the same parameters (mergan.networks.plain)."""
        sides: Any = self.kernel_size, self.stride, self.padding
        plain = nn.Conv2d(self.in_channels, self.out_channels, *sides)
        plain.weight, plain.bias = self.weight, self.bias
        return plain


class _ThinConvolution(torch.autograd.Function):
    """A convolution with a faster backward pass that can be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = _saved(ctx, gradient)
        by_x = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            by_x = scatter_patches(gradient, weight, x.shape[2:], ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            by_weight = conv2d_weight(x, weight.shape, gradient, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            by_bias = gradient.sum(dim=(0, 2, 3))
        return by_x, by_weight, by_bias, None, None
