"""Batch normalisation over the whole batch of several processes, on GPUs and processors alike.

torch.nn.SyncBatchNorm refuses tensors on a processor and can be differentiated only once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mergan.system import whole_batch


def share_moments(module: nn.Module) -> None:
    """Let every batch normalisation in a module take its moments over all processes.

    Names of parameters and buffers stay. Outside of steps that all processes take together, and in eval mode,
    nothing changes.
    """
    for part in module.modules():
        if isinstance(part, _BatchNorm) and not isinstance(part, nn.SyncBatchNorm):
            part.forward = functools.partial(_normalise, part, part.forward)  # type: ignore[method-assign]


def _normalise(norm: _BatchNorm, alone: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Normalise x (B, C, ...); `alone` does it without the other processes."""
    if whole_batch.total(1) == 1 or not (norm.training or norm.running_mean is None):
        return alone(x)
    over = [dim for dim in range(x.dim()) if dim != 1]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    count = whole_batch.total(x.numel() // x.shape[1])
    values = x.float()
    mean = whole_batch.summed(values.sum(dim=over)) / count
    centred = values - mean.view(shape)
    variance = whole_batch.summed(centred.square().sum(dim=over)) / count
    _track(norm, mean.detach(), variance.detach() * (count / max(count - 1, 1)))
    y = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.affine:
        y = torch.addcmul(norm.bias.view(shape), y, norm.weight.view(shape))
    return y.to(x.dtype)


@torch.no_grad()
def _track(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Update the running moments as torch.nn.BatchNorm2d does."""
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance, momentum)
