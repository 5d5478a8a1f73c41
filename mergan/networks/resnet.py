"""The residual pair: up- and down-sampling blocks of two 3x3 convolutions, conditional norm, projection.

The blocks are those of SN-GAN (Miyato et al. 2018, arXiv 1802.05957, appendix B) with the projection
discriminator (Miyato & Koyama 2018, arXiv 1802.05637), except that group norm replaces batch norm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mergan.config.ranges import Count, ImageSize
from mergan.networks.fast.pooled_conv import PooledConv2d
from mergan.networks.fast.thin import ThinInputConv2d, ThinOutputConv2d
from mergan.networks.fast.upsample_conv import UpsampleConv2d
from mergan.networks.layers import ClassLinear, ClassTable, ConditionalNorm, num_doublings

BASE = 4  # resolution of the generator's first and the discriminator's last feature map
GROUPS = 8  # of the group norm, where so many divide the channels
SLOPE = 0.2  # of the discriminator's leaky ReLU
RESIDUAL = 0.1  # factor on the initial weights of the discriminator's second convolutions

Normalise = Callable[[nn.Module], nn.Module]


class Generator(nn.Module):
    """z -> linear -> [residual block that doubles the resolution] x n -> norm, ReLU, 3x3 convolution, tanh.

    Args:
        latent_dim: size of z.
        num_classes: classes of the data set.
        channels: channels of the images, 1 to 4.
        image_size: 16, 32, 64 or 128.
        width: channels of the last feature map; each earlier one has twice as many, up to `max_width`.
        max_width: most channels of a feature map. The last one has `width` in any case.
        modulation: what scale and shift of the norms depend on, see ModulatedNorm.
    """

    def __init__(
        self,
        latent_dim: Count,
        num_classes: Count,
        channels: Count,
        image_size: ImageSize,
        width: Count,
        max_width: Count,
        modulation: Literal["class", "class_and_z"],
    ) -> None:
        super().__init__()
        by_z = latent_dim if modulation == "class_and_z" else None
        first, *others = reversed(_widths(width, max_width, num_doublings(image_size, BASE) + 1))
        self.project = nn.Linear(latent_dim, first * BASE * BASE)
        self.blocks = nn.ModuleList(
            UpBlock(before, after, num_classes, by_z)
            for before, after in itertools.pairwise([first, *others])
        )
        self.norm = ModulatedNorm(width, num_classes, by_z)
        self.out = ThinOutputConv2d(width, channels, kernel_size=3, padding=1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, channels, S, S) in [-1, 1]."""
        x = self.project(z).unflatten(1, (-1, BASE, BASE))
        for block in self.blocks:
            x = block(x, labels, z)
        return torch.tanh(self.out(torch.relu(self.norm(x, labels, z))))


class UpBlock(nn.Module):
    """Norm, ReLU, nearest up-sampling, 3x3 convolution, norm, ReLU, 3x3 convolution, plus the shortcut.

    The shortcut is the up-sampled input. Where the channels change, a 1x1 convolution precedes the
    up-sampling, which equals the 1x1 convolution of the up-sampled input.

    Args:
        before: channels of the input.
        after: channels of the output.
        num_classes: classes of the data set.
        by_z: see ModulatedNorm.
    """

    def __init__(self, before: int, after: int, num_classes: int, by_z: int | None) -> None:
        super().__init__()
        self.first_norm = ModulatedNorm(before, num_classes, by_z)
        self.first = UpsampleConv2d(before, after)
        self.second_norm = ModulatedNorm(after, num_classes, by_z)
        self.second = nn.Conv2d(after, after, kernel_size=3, padding=1)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, kernel_size=1)

    def forward(self, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """x (B, before, H, W), labels (B,), z (B, latent_dim) -> (B, after, 2 H, 2 W)."""
        residual = self.first(torch.relu(self.first_norm(x, labels, z)))
        residual = self.second(torch.relu(self.second_norm(residual, labels, z)))
        return residual + nn.functional.interpolate(self.shortcut(x), scale_factor=2)


class ModulatedNorm(ConditionalNorm):
    """Group norm with a scale and a shift per class and, if wanted, per z.

    With z, scale and shift are the sum of the rows of the class and a linear map of z (self-modulation, Chen
    et al. 2019, arXiv 1810.01365). The map is zero at the start, so it then changes nothing.

    Args:
        channels: channels of the input.
        num_classes: rows of the scale and shift tables.
        by_z: size of z; None leaves z out.
    """

    def __init__(self, channels: int, num_classes: int, by_z: int | None) -> None:
        super().__init__(channels, num_classes, "group", math.gcd(GROUPS, channels))
        self.by_z = None
        if by_z is not None:
            self.by_z = nn.Linear(by_z, 2 * channels, bias=False)
            nn.init.zeros_(self.by_z.weight)

    def forward(self, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise x (B, C, H, W), with scale and shift of labels (B,) and z (B, latent_dim)."""
        scale, shift = self.scale(labels), self.shift(labels)
        if self.by_z is not None:
            scale_by_z, shift_by_z = self.by_z(z).chunk(2, dim=1)
            scale, shift = scale + scale_by_z, shift + shift_by_z
        return self.group_norm(x, scale, shift)


class Discriminator(nn.Module):
    """[Residual block that halves the resolution] x n -> leaky ReLU -> adversarial logit and class logits.

    The adversarial logit is a linear map of the features plus their inner product with an embedding of the
    label (Miyato & Koyama 2018, eq. 3). The features keep their positions (4x4), unlike in SN-GAN, which sums
    over them: with few blocks no feature sees the whole image.

    Args:
        num_classes: classes of the data set.
        channels: channels of the images.
        image_size: 16, 32, 64 or 128.
        width: channels of the first block's output; each later one has twice as many, up to `max_width`.
        max_width: most channels of a feature map. The first one has `width` in any case.
        spectral: spectral normalisation of every layer except the classifier (Miyato et al. 2018).
    """

    sample_independent = True

    def __init__(
        self,
        num_classes: Count,
        channels: Count,
        image_size: ImageSize,
        width: Count,
        max_width: Count,
        spectral: bool,
    ) -> None:
        super().__init__()
        normalise: Normalise = spectral_norm if spectral else _identity
        widths = [channels, *_widths(width, max_width, num_doublings(image_size, BASE))]
        blocks = [
            DownBlock(before, after, index == 0, normalise)
            for index, (before, after) in enumerate(itertools.pairwise(widths))
        ]
        self.trunk = nn.Sequential(*blocks, nn.LeakyReLU(SLOPE), nn.Flatten())
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.num_features = widths[-1] * BASE * BASE
        self.adversarial = normalise(nn.Linear(self.num_features, 1))
        self.classify = ClassLinear(self.num_features, num_classes)
        table = ClassTable(num_classes, self.num_features)
        nn.init.normal_(table.weight, std=0.01)  # nearly neutral for classes not yet seen
        self.embedding = normalise(table)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, channels, S, S), labels (B,) -> adversarial (B,) and class logits (B, num_classes)."""
        features = self.trunk(images)
        adversarial = self.adversarial(features).squeeze(1) + (features * self.embedding(labels)).sum(dim=1)
        return adversarial, self.classify(features)


class DownBlock(nn.Module):
    """[Leaky ReLU, 3x3 convolution] x 2, average pooling, plus the shortcut.

    The shortcut is the pooled input, after a 1x1 convolution where the channels change. The block that sees
    the image has no first leaky ReLU, and its first convolution changes the channels. In the other blocks
    the second convolution does.

    A discriminator without norms trains stably from the start if its residual branches begin small (Zhang
    et al. 2019, arXiv 1901.09321; in GANs: Huang et al. 2024, arXiv 2501.05441). So weights begin with the
    variance that keeps that of the features, and those of second convolutions with `RESIDUAL` times that
    standard deviation, which leaves a gradient to the first ones.

    Args:
        before: channels of the input.
        after: channels of the output.
        image: whether the input is the image.
        normalise: what to apply to every convolution.
    """

    def __init__(self, before: int, after: int, image: bool, normalise: Normalise) -> None:
        super().__init__()
        hidden = after if image else before
        self.activate = nn.Identity() if image else nn.LeakyReLU(SLOPE)
        first = (ThinInputConv2d if image else nn.Conv2d)(before, hidden, kernel_size=3, padding=1)
        second = PooledConv2d(hidden, after)
        gain = nn.init.calculate_gain("leaky_relu", SLOPE)
        _initialise(first, 1.0 if image else gain)
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


def _widths(width: int, most: int, count: int) -> list[int]:
    """`width`, then each twice the one before, up to `most`."""
    return [width, *(min(width * 2**i, max(width, most)) for i in range(1, count))]


def _initialise(conv: nn.Conv2d, gain: float) -> None:
    """Normal weights of the standard deviation gain / sqrt(fan-in), and a bias of zero."""
    nn.init.normal_(conv.weight, std=gain / math.sqrt(conv.weight[0].numel()))
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)


def _identity(layer: nn.Module) -> nn.Module:
    return layer
