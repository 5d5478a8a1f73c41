"""The residual pair: blocks that double and halve the resolution, conditional group norm, projection.

The blocks are those of SN-GAN (Miyato et al. 2018, arXiv 1802.05957, appendix B) with the projection
discriminator (Miyato & Koyama 2018, arXiv 1802.05637), except that group norm replaces batch norm.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mergan.config.ranges import Count, ImageSize, Whole
from mergan.networks.fast.thin import ThinOutputConv2d
from mergan.networks.layers import (
    ClassLinear,
    ClassTable,
    ConditionalNorm,
    Modulation,
    Projection,
    num_doublings,
)
from mergan.networks.residual import SLOPE, DownBlock, Normalise, UpBlock

BASE = 4  # resolution of the generator's first and the discriminator's last feature map


class Generator(nn.Module):
    """z -> linear -> [residual block that doubles the resolution] x n -> norm, ReLU, 3x3 convolution, tanh.

    Args:
        latent_dim: size of z.
        num_classes: classes of the data set.
        channels: channels of the images, 1 to 4.
        image_size: 16, 32, 64 or 128.
        width: channels of the last feature map; each earlier one has twice as many, up to `max_width`.
        max_width: most channels of a feature map. The last one has `width` in any case.
        bottleneck: between its two convolutions a block has this many times fewer channels than it returns;
            1 is SN-GAN's block.
        modulation: what scale and shift of the norms depend on, see ConditionalNorm.
        private_z: how many components of z each class maps with weights of its own, see Projection; 0: none.
    """

    def __init__(
        self,
        latent_dim: Count,
        num_classes: Count,
        channels: Count,
        image_size: ImageSize,
        width: Count,
        max_width: Count,
        bottleneck: Count,
        modulation: Modulation,
        private_z: Whole,
    ) -> None:
        super().__init__()
        by_z = latent_dim if modulation == "class_and_z" else None
        first, *others = reversed(_widths(width, max_width, num_doublings(image_size, BASE) + 1))
        self.project = Projection(latent_dim, first * BASE * BASE, num_classes, private_z)
        self.blocks = nn.ModuleList(
            UpBlock(before, after, max(1, after // bottleneck), num_classes, by_z)
            for before, after in itertools.pairwise([first, *others])
        )
        self.norm = ConditionalNorm(width, num_classes, "group", by_z)
        self.out = ThinOutputConv2d(width, channels, kernel_size=3, padding=1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, channels, S, S) in [-1, 1]."""
        x = self.project(z, labels).unflatten(1, (-1, BASE, BASE))
        for block in self.blocks:
            x = block(x, labels, z)
        return torch.tanh(self.out(torch.relu_(self.norm(x, labels, z))))


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
        bottleneck: between its two convolutions a block has this many times fewer channels than it gets
            (the first block: than it returns); 1 is SN-GAN's block.
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
        bottleneck: Count,
        spectral: bool,
    ) -> None:
        super().__init__()
        normalise: Normalise = spectral_norm if spectral else _identity
        widths = _widths(width, max_width, num_doublings(image_size, BASE))
        blocks = [
            DownBlock(before, after, max(1, before // bottleneck), normalise, activate=True)
            for before, after in itertools.pairwise(widths)
        ]
        first = DownBlock(channels, width, max(1, width // bottleneck), normalise, activate=False)
        # flattened first, see mergan.networks.dcgan.trunk
        self.trunk = nn.Sequential(first, *blocks, nn.Flatten(), nn.LeakyReLU(SLOPE))
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


def _widths(width: int, most: int, count: int) -> list[int]:
    """`width`, then each twice the one before, up to `most`."""
    return [width, *(min(width * 2**i, max(width, most)) for i in range(1, count))]


def _identity(layer: nn.Module) -> nn.Module:
    return layer
