"""One batch in several parts, one in each of the processes that train a run together.

A batch of N = B * P images is drawn alike by all P processes, from the same random numbers. Process r keeps
every P-th image from r on, so a run with P processes of B images follows a run with one process of N images.
Outside of `one_batch`, and in a run of one process, every function here returns what it got.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mergan.system import processes
from mergan.system.launched import Member

_alone = Member()
_sharing = _alone  # this process among those of the run inside of `one_batch`, otherwise alone


@contextmanager
def one_batch() -> Iterator[None]:
    """Inside of this context, in which all processes take the same steps, a batch is one of all of them."""
    global _sharing
    _sharing = processes.me()
    try:
        yield
    finally:
        _sharing = _alone


def total(count: int) -> int:
    """Number of images in all processes together, where this one has `count`."""
    return count * _sharing.count


def own(whole: Tensor, dim: int = 0, first: int = 0) -> Tensor:
    """The part of this process.

    Args:
        whole: a value for each image of the whole batch, along one dimension.
        dim: that dimension.
        first: place of the first of these values in the whole batch.
    """
    if _sharing.count == 1:
        return whole
    places: list[slice] = [slice(None)] * dim
    return whole[
        (*places, slice((_sharing.rank - first) % _sharing.count, None, _sharing.count))
    ].contiguous()


def gathered(part: Tensor) -> Tensor:
    """The whole batch (N, ...) of the parts (B, ...), without gradient; `own` is the inverse."""
    if _sharing.count == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(_sharing.count)]
    processes.meet(lambda: dist.all_gather(parts, part.contiguous()))
    return torch.stack(parts, dim=1).flatten(0, 1)


def mean(value: Tensor) -> Tensor:
    """The mean over all processes.

    Its gradient is that of the own value: once gradients have been averaged, this is the gradient of a loss
    that all processes compute from the mean alike.
    """
    if _sharing.count == 1:
        return value
    everyone = value.detach().clone()
    processes.meet(lambda: dist.all_reduce(everyone))
    everyone /= _sharing.count
    return value + (everyone - value.detach()) if value.requires_grad else everyone


def summed(value: Tensor) -> Tensor:
    """The sum over all processes, differentiable where each computes something else from it."""
    return value if _sharing.count == 1 else _Sum.apply(value)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # type: ignore[override]
        everyone = value.clone(memory_format=torch.contiguous_format)
        processes.meet(lambda: dist.all_reduce(everyone))
        return everyone

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _Sum.apply(gradient)  # a function that can be differentiated again


def average_gradients(networks: Iterable[nn.Module]) -> None:
    """Replace the gradients of networks by their mean over the processes, which have the same ones.

    The losses are means over the images of a process, so the mean of the gradients is that of a mean over the
    whole batch.
    """
    if _sharing.count == 1:
        return
    weights = (weight for network in networks for weight in network.parameters())
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    processes.meet(lambda: dist.all_reduce(flat))
    flat /= _sharing.count
    for gradient, part in zip(gradients, flat.split([part.numel() for part in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
