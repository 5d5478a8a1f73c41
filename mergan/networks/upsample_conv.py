"""Nearest up-sampling followed by a 3x3 convolution, in nine matrix products at the lower resolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK = 2**22  # bytes of products that are made before they are added up, per thread: caches hold them


class UpsampleConv2d(nn.Conv2d):
    """Nearest up-sampling by 2, then a 3x3 convolution with padding 1, without the up-sampled picture.

    Up-sampled pixels come in equal pairs, so that along an axis an even output pixel is
    `w0 x[i-1] + (w1 + w2) x[i]` and an odd one `(w0 + w1) x[i] + w2 x[i+1]`. With the differences
    `d[i] = x[i] - x[i-1]` and the sum s of the three taps these are `s x[i] - w0 d[i]` and
    `s x[i] + w2 d[i+1]`: three products for two pixels, nine for the four of two axes, where the transposed
    convolution that equals both steps takes 16 and the convolution of the up-sampled picture 36. On a CPU
    they run as matrix products over feature maps in the order N, H, W, C; other devices take the transposed
    convolution. Parameters and initialisation are those of the 3x3 convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in_channels, H, W) -> (B, out_channels, 2 H, 2 W), channels last on a CPU."""
        assert self.bias is not None
        if x.device.type != "cpu":
            kernel = transposed_kernel(self.weight)
            return nn.functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)
        # (in_channels, 3, 3, out_channels): along each axis the sum of the taps, the even and the odd one
        kernels = _three_taps(_three_taps(self.weight, 2), 3).permute(1, 2, 3, 0)
        parts = [kernels[:, 0, 0], kernels[:, 0, 1:], kernels[:, 1:, 0], kernels[:, 1:, 1:]]
        operands = [x.permute(0, 2, 3, 1), *(part.flatten(1) for part in parts), self.bias]
        if torch.is_autocast_enabled("cpu"):
            operands = [operand.to(torch.get_autocast_dtype("cpu")) for operand in operands]
        image: Tensor = _NineProducts.apply(*operands)  # type: ignore[no-untyped-call]
        return image.permute(0, 3, 1, 2)


def transposed_kernel(weight: Tensor) -> Tensor:
    """The kernel (C_in, C_out, 4, 4) of the transposed convolution with stride 2 and padding 1 that equals
    nearest up-sampling followed by the convolution with `weight` (C_out, C_in, 3, 3).
    """
    return _four_taps(_four_taps(weight, 2), 3).transpose(0, 1)


def _three_taps(weight: Tensor, dim: int) -> Tensor:
    """w0 + w1 + w2, -w0 and w2."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([first + middle + last, -first, last], dim)


def _four_taps(weight: Tensor, dim: int) -> Tensor:
    """The taps of a transposed convolution with stride 2: w2, w1 + w2, w0 + w1 and w0."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([last, middle + last, first + middle, first], dim)


class _NineProducts(torch.autograd.Function):
    """The products and their sums. All feature maps are in the order N, H, W, C.

    Args of apply:
        x: (B, H, W, C).
        level: kernel (C, K) of x itself.
        across: kernels (C, 2 K) of the differences along W, for even and odd columns.
        down: kernels (C, 2 K) of those along H, for even and odd rows.
        corner: kernels (C, 4 K) of the differences along both, rows before columns.
        bias: (K,).

    Returns:
        (B, 2 H, 2 W, K).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, level: Tensor, across: Tensor, down: Tensor, corner: Tensor, bias: Tensor
    ) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, level, across, down, corner)
        samples, height, width, _ = x.shape
        image = x.new_empty(samples, height, 2, width, 2, level.shape[1])
        count = _samples_per_chunk(x, level)
        for part, into in zip(x.split(count), image.split(count), strict=True):
            by_column, by_row, by_both = _differences(part)
            levels = torch.addmm(bias, part.flatten(0, 2), level).unflatten(0, part.shape[:3])
            columns = (by_column @ across).unflatten(3, (2, -1))
            rows = (by_row @ down).unflatten(3, (2, -1))
            corners = (by_both @ corner).unflatten(3, (2, 2, -1))
            for odd_column in (0, 1):
                across_part = slice(odd_column, odd_column + width)
                line = levels + columns[:, :, across_part, odd_column]
                for odd_row in (0, 1):
                    down_part = slice(odd_row, odd_row + height)
                    rest = corners[:, down_part, across_part, odd_row, odd_column]
                    rest += rows[:, down_part, :, odd_row]
                    torch.add(line, rest, out=into[:, :, odd_row, :, odd_column])
        return image.flatten(3, 4).flatten(1, 2)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, *kernels = ctx.saved_tensors
        gradient = gradient.contiguous()
        samples, height, width, _ = x.shape
        image = gradient.view(samples, height, 2, width, 2, -1)
        by_x = torch.empty_like(x)
        by_kernels = [
            kernel.new_zeros(kernel.shape, dtype=torch.promote_types(kernel.dtype, torch.float32))
            for kernel in kernels
        ]
        count = _samples_per_chunk(x, kernels[0])
        for part, into, g in zip(x.split(count), by_x.split(count), image.split(count), strict=True):
            sources = (part, *_differences(part))
            products = _gradients_of_products(g)
            for total, source, product in zip(by_kernels, sources, products, strict=True):
                total += source.flatten(0, 2).t() @ product.flatten(0, 2)
            back = [product @ kernel.t() for product, kernel in zip(products, kernels, strict=True)]
            _gradient_of_differences(back, into)
        return by_x, *(total.to(x.dtype) for total in by_kernels), gradient.sum(dim=(0, 1, 2))


def _samples_per_chunk(x: Tensor, level: Tensor) -> int:
    _, height, width, _ = x.shape
    products = 9 * (height + 1) * (width + 1) * level.shape[1] * level.element_size()
    return max(1, CHUNK * torch.get_num_threads() // products)


def _differences(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Differences of neighbours along W, along H and along both, of x (B, H, W, C) with zeros around it."""
    by_column = _difference(x, 2)
    return by_column, _difference(x, 1), _difference(by_column, 1)


def _difference(x: Tensor, dim: int) -> Tensor:
    side = x.shape[dim]
    shape = list(x.shape)
    shape[dim] += 1
    result = x.new_empty(shape)
    result.select(dim, 0).copy_(x.select(dim, 0))
    torch.sub(x.narrow(dim, 1, side - 1), x.narrow(dim, 0, side - 1), out=result.narrow(dim, 1, side - 1))
    torch.neg(x.select(dim, side - 1), out=result.select(dim, side))
    return result


def _gradients_of_products(image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What each product has given to the image (B, H, 2, W, 2, K), in the order of the kernels."""
    samples, height, _, width, _, channels = image.shape
    columns = image.new_zeros(samples, height, width + 1, 2, channels)
    rows = image.new_zeros(samples, height + 1, width, 2, channels)
    corners = image.new_zeros(samples, height + 1, width + 1, 2, 2, channels)
    for odd in (0, 1):
        along, down = slice(odd, odd + width), slice(odd, odd + height)
        torch.add(image[:, :, 0, :, odd], image[:, :, 1, :, odd], out=columns[:, :, along, odd])
        torch.add(image[:, :, odd, :, 0], image[:, :, odd, :, 1], out=rows[:, down, :, odd])
        for odd_row in (0, 1):
            corners[:, odd_row : odd_row + height, along, odd_row, odd] = image[:, :, odd_row, :, odd]
    levels = columns[:, :, :-1, 0] + columns[:, :, 1:, 1]
    return levels, columns.flatten(3), rows.flatten(3), corners.flatten(3)


def _gradient_of_differences(back: list[Tensor], into: Tensor) -> None:
    """Write the gradient by x into `into`, from those by x itself and by its differences."""
    level, by_column, by_row, by_both = back
    by_column += by_both[:, :-1]
    by_column -= by_both[:, 1:]
    torch.add(level, by_column[:, :, :-1], out=into)
    into -= by_column[:, :, 1:]
    into += by_row[:, :-1]
    into -= by_row[:, 1:]
