"""The arithmetic of UpsampleConv2d on a CPU: streams of the input, 25 matrix products, their sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 2**22  # bytes of products per thread before they are summed up; they fit into the caches

# coefficients of a convolution's three taps: first for the product of a pair's first pixel, then for the
# differences of the four pixels
FIVE_TAPS = ((1.0, 1.0, 1.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (-1.0, -1.0, 0.0))
TAPS = len(FIVE_TAPS)


class PairProducts(torch.autograd.Function):
    """Computes the products and their sums, for a few samples at a time.

    Args of apply:
        x: (B, H, W, C), H and W even.
        weight: (K, C, 3, 3), the weight of the convolution; it may have a higher precision than x.
        bias: (K,).

    Returns:
        (B, 2 H, 2 W, K), with the dtype of x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x, bias = x.contiguous(), bias.to(x.dtype)
        kernels = _kernels(weight).to(x.dtype)
        ctx.save_for_backward(x, kernels)
        samples, height, width, _ = x.shape
        image = x.new_empty(samples, 2 * height, 2 * width, len(bias))
        for part, into, work in _chunks(x, image):
            _set_streams(part, work)
            torch.bmm(work.stream_matrices, kernels, out=work.product_matrices)
            _add_products(work.products, bias, into)
        return image

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, kernels = ctx.saved_tensors
        by_x = torch.empty_like(x)
        exact = torch.promote_types(kernels.dtype, torch.float32)
        by_kernels = torch.zeros_like(kernels, dtype=exact)
        gradient = gradient.contiguous()
        parts = by_x.split(_samples_per_chunk(gradient))
        for (part, g, work), into in zip(_chunks(x, gradient), parts, strict=True):
            _set_gradients_of_products(g, work.products)
            _set_streams(part, work)
            by_kernels += torch.bmm(work.stream_matrices.transpose(1, 2), work.product_matrices)
            # from here on the workspace holds the gradient with respect to the streams
            torch.bmm(work.product_matrices, kernels.transpose(1, 2), out=work.stream_matrices)
            _set_gradient_of_input(work, into)
        return by_x, _gradient_of_kernels(by_kernels), gradient.sum(dim=(0, 1, 2)).to(exact)


def _all_taps(like: Tensor) -> Tensor:
    """(25, 9): the taps of both axes."""
    taps = like.new_tensor(FIVE_TAPS)
    return torch.kron(taps, taps)


def _kernels(weight: Tensor) -> Tensor:
    """The kernels (25, C, K) of all products, from the weight (K, C, 3, 3)."""
    out_channels, in_channels, _, _ = weight.shape
    with torch.autocast("cpu", enabled=False):  # small sums, rounded once
        kernels = _all_taps(weight) @ weight.permute(2, 3, 1, 0).reshape(9, -1)
    return kernels.view(-1, in_channels, out_channels)


def _gradient_of_kernels(by_kernels: Tensor) -> Tensor:
    """The gradient of the weight (K, C, 3, 3), from the gradient of the kernels (25, C, K)."""
    with torch.autocast("cpu", enabled=False):
        by_weight = _all_taps(by_kernels).t() @ by_kernels.flatten(1)
    return by_weight.view(3, 3, *by_kernels.shape[1:]).permute(3, 2, 0, 1)


class _Workspace:
    """Buffers for a chunk of samples. The next chunk reuses them while they are in the caches.

    The sample axis lies between pixels and channels, so additions per pixel run over long stretches.

    Args:
        x: the chunk (n, H, W, C).
        channels: channels of the output, K.

    Attributes:
        across: (5, H, W / 2, n, C), the streams along W, or their gradient.
        streams: (5, 5, H / 2, W / 2, n, C), the streams of `across` along H, or their gradient.
        products: (5, 5, H / 2, W / 2, n, K), the products, or their gradient.
    """

    def __init__(self, x: Tensor, channels: int) -> None:
        samples, height, width, _ = x.shape
        pairs = (height // 2, width // 2, samples)
        self.across = x.new_empty(TAPS, height, *pairs[1:], x.shape[3])
        self.streams = x.new_empty(TAPS, TAPS, *pairs, x.shape[3])
        self.products = x.new_empty(TAPS, TAPS, *pairs, channels)
        self.stream_matrices, self.product_matrices = (
            part.flatten(2, 4).flatten(0, 1) for part in (self.streams, self.products)
        )


def _chunks(x: Tensor, image: Tensor) -> Iterator[tuple[Tensor, Tensor, _Workspace]]:
    """Yield a few samples of x (B, H, W, C) and the image (B, 2 H, 2 W, K) at a time, and a workspace."""
    count = _samples_per_chunk(image)
    work: _Workspace | None = None
    for part, of_image in zip(x.split(count), image.split(count), strict=True):
        if work is None or len(part) != work.streams.shape[4]:
            work = _Workspace(part, image.shape[3])
        yield part, of_image, work


def _samples_per_chunk(image: Tensor) -> int:
    """Number of samples per chunk: as many as `CHUNK` allows, in chunks of equal size."""
    samples = len(image)
    products = TAPS**2 * image.shape[1:].numel() * image.element_size() // (TAPS - 1) ** 2
    most = max(1, CHUNK * torch.get_num_threads() // products)
    return max(1, math.ceil(samples / max(1, math.ceil(samples / most))))


def _pairs(x: Tensor, dim: int) -> tuple[Tensor, ...]:
    """The first and the second pixels of all pairs along an axis."""
    return x.unflatten(dim, (-1, 2)).unbind(dim + 1)


def _set_streams(x: Tensor, work: _Workspace) -> None:
    """Set the streams of x (n, H, W, C): for each pair the first pixel itself and the differences."""
    for source, streams in ((x.permute(1, 2, 0, 3), work.across), (work.across, work.streams)):
        first, second = _pairs(source, 1)
        itself, before, within, again, after = streams
        itself.copy_(first)
        torch.sub(second, first, out=within)
        again.copy_(within)
        torch.sub(first[:, 1:], second[:, :-1], out=after[:, :-1])
        torch.neg(second[:, -1], out=after[:, -1])  # zero padding around the image
        before[:, 1:] = after[:, :-1]
        before[:, 0] = first[:, 0]


def _set_gradient_of_input(work: _Workspace, by_x: Tensor) -> None:
    """Set the gradient of x (n, H, W, C) from the gradient of its streams, which is overwritten."""
    for streams, source in ((work.streams, work.across), (work.across, by_x.permute(1, 2, 0, 3))):
        first, second = _pairs(source, 1)
        itself, before, within, again, after = streams
        within += again
        torch.sub(itself, within, out=first)
        first += before
        first[:, 1:] += after[:, :-1]
        torch.sub(within, after, out=second)
        second[:, :-1] -= before[:, 1:]


def _pixels(image: Tensor) -> Tensor:
    """The image (n, 2 H, 2 W, K) as (4, 4, H / 2, W / 2, n, K): the sixteen pixels of a pair of pairs."""
    return image.unflatten(2, (-1, 4)).unflatten(1, (-1, 4)).permute(2, 4, 1, 3, 0, 5)


def _add_products(products: Tensor, bias: Tensor, image: Tensor) -> None:
    """Set the image (n, 2 H, 2 W, K) from the products.

    Add the product of the first pixel itself to each other product, along W and then along H. For the last
    of four pixels, use the first pixel of the next pair.
    """
    pixels = _pixels(image)
    products[0, 0] += bias
    products[0, 4, :, -1] += bias
    products[:, 1:4] += products[:, :1]
    products[:, 4, :, :-1] += products[:, 0, :, 1:]
    torch.add(products[1:4, 1:], products[:1, 1:], out=pixels[:3])
    torch.add(products[4, 1:, :-1], products[0, 1:, 1:], out=pixels[3, :, :-1])
    torch.add(products[4, 1:, -1], bias, out=pixels[3, :, -1])


def _set_gradients_of_products(image: Tensor, products: Tensor) -> None:
    """Set the gradients of all products from the gradient of the image (n, 2 H, 2 W, K)."""
    products[1:, 1:] = _pixels(image)
    torch.add(products[1, 1:], products[2, 1:], out=products[0, 1:])
    products[0, 1:] += products[3, 1:]
    products[0, 1:, 1:] += products[4, 1:, :-1]
    torch.add(products[:, 1], products[:, 2], out=products[:, 0])
    products[:, 0] += products[:, 3]
    products[:, 0, :, 1:] += products[:, 4, :, :-1]
