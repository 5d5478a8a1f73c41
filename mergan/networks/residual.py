"""Residual blocks that double or halve the resolution."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mergan.networks.fast.pooled_conv import PooledConv2d
from mergan.networks.fast.thin import ThinInputConv2d
from mergan.networks.fast.upsample_conv import TransposedUpsampleConv2d
from mergan.networks.layers import ConditionalNorm

SLOPE = 0.2  # of the leaky ReLU
RESIDUAL = 0.1  # factor on the initial weights of a DownBlock's second convolution

Normalise = Callable[[nn.Module], nn.Module]


class UpBlock(nn.Module):
    """Norm, ReLU, nearest up-sampling, 3x3 convolution, norm, ReLU, 3x3 convolution, plus the shortcut.

    The shortcut is the up-sampled input. Where the channels change, a 1x1 convolution precedes the
    up-sampling, which equals the 1x1 convolution of the up-sampled input.

    Args:
        before: channels of the input.
        after: channels of the output.
        hidden: channels between the convolutions.
        num_classes: classes of the data set.
        by_z: see ConditionalNorm.
    """

    def __init__(self, before: int, after: int, hidden: int, num_classes: int, by_z: int | None) -> None:
        super().__init__()
        self.first_norm = ConditionalNorm(before, num_classes, "group", by_z)
        self.first = TransposedUpsampleConv2d(before, hidden)
        self.second_norm = ConditionalNorm(hidden, num_classes, "group", by_z)
        self.second = nn.Conv2d(hidden, after, kernel_size=3, padding=1)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, kernel_size=1)

    def forward(self, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """x (B, before, H, W), labels (B,), z (B, latent_dim) -> (B, after, 2 H, 2 W)."""
        residual = self.first(torch.relu_(self.first_norm(x, labels, z)))
        residual = self.second(torch.relu_(self.second_norm(residual, labels, z)))
        return residual + _doubled(self.shortcut(x))


class DownBlock(nn.Module):
    """[Leaky ReLU, 3x3 convolution] x 2, average pooling, plus the shortcut.

    The shortcut is the pooled input, after a 1x1 convolution where the channels change. The block that sees
    the image has no first leaky ReLU.

    A discriminator without norms trains stably from the start if its residual branches begin small (Zhang
    et al. 2019, arXiv 1901.09321; in GANs: Huang et al. 2024, arXiv 2501.05441). So weights begin with the
    variance that keeps that of the features, and those of second convolutions with `RESIDUAL` times that
    standard deviation, which leaves a gradient to the first ones.

    Args:
        before: channels of the input.
        after: channels of the output.
        hidden: channels between the convolutions.
        normalise: what to apply to every convolution.
        activate: False if the input is the image.
    """

    def __init__(self, before: int, after: int, hidden: int, normalise: Normalise, *, activate: bool) -> None:
        super().__init__()
        self.activate = nn.LeakyReLU(SLOPE) if activate else nn.Identity()
        kind = nn.Conv2d if activate else ThinInputConv2d
        first = kind(before, hidden, kernel_size=3, padding=1)
        second = PooledConv2d(hidden, after)
        gain = nn.init.calculate_gain("leaky_relu", SLOPE)
        _initialise(first, gain if activate else 1.0)
        _initialise(second, gain * RESIDUAL)
        self.first, self.second = normalise(first), normalise(second)
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            shortcut = nn.Conv2d(before, after, kernel_size=1)
            _initialise(shortcut, 1.0)
            self.shortcut = normalise(shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, before, H, W) -> (B, after, H / 2, W / 2)."""
        residual = self.second(nn.functional.leaky_relu(self.first(self.activate(x)), SLOPE))
        return residual + self.shortcut(nn.functional.avg_pool2d(x, 2))


def _doubled(x: Tensor) -> Tensor:
    """Nearest up-sampling by 2 of x (B, C, H, W); on a CPU twice as fast as PyTorch's own."""
    rows = torch.stack([x, x], dim=4).flatten(3)
    return torch.stack([rows, rows], dim=3).flatten(2, 3)


def _initialise(conv: nn.Conv2d, gain: float) -> None:
    """Normal weights of the standard deviation gain / sqrt(fan-in), and a bias of zero."""
    nn.init.normal_(conv.weight, std=gain / math.sqrt(conv.weight[0].numel()))
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
