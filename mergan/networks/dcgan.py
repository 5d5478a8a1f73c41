"""A DCGAN pair with 4x4 convolutions and conditional norms; that of Wu et al. 2018 is in memory_replay.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mergan.config.ranges import Count, ImageSize, Whole
from mergan.networks.fast.thin import ThinConvTranspose2d, ThinInputConv2d
from mergan.networks.layers import (
    ClassLinear,
    ClassTable,
    ConditionalNorm,
    Modulation,
    Projection,
    num_doublings,
)

BASE = 4  # resolution of the generator's first and the discriminator's last feature map


class Generator(nn.Module):
    """z -> linear -> [conditional norm, ReLU, transposed 4x4 convolution] x n -> tanh.

    Args:
        latent_dim: size of z.
        num_classes: classes of the data set.
        channels: channels of the images, 1 to 4.
        image_size: 16, 32, 64 or 128.
        width: channels of the last hidden feature map; each earlier one has twice as many.
        norm: "group" or "batch", see ConditionalNorm.
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
        norm: Literal["group", "batch"],
        modulation: Modulation,
        private_z: Whole,
    ) -> None:
        super().__init__()
        doublings = num_doublings(image_size, BASE)
        widths = [width * 2**i for i in reversed(range(doublings))]
        self.project = Projection(latent_dim, widths[0] * BASE * BASE, num_classes, private_z)
        by_z = latent_dim if modulation == "class_and_z" else None
        self.norms = nn.ModuleList(ConditionalNorm(w, num_classes, norm, by_z) for w in widths)
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1)
            for before, after in itertools.pairwise(widths)
        )
        self.convs.append(ThinConvTranspose2d(widths[-1], channels, kernel_size=4, stride=2, padding=1))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, channels, S, S) in [-1, 1]."""
        x = self.project(z, labels).unflatten(1, (-1, BASE, BASE))
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = conv(torch.relu(norm(x, labels, z)))
        return torch.tanh(x)


class Discriminator(nn.Module):
    """[4x4 convolution with stride 2, leaky ReLU] x n -> adversarial logit and class logits.

    Args:
        num_classes: classes of the data set.
        channels: channels of the images.
        image_size: 16, 32, 64 or 128.
        width: channels of the first feature map; each later one has twice as many.
        spectral: spectral normalisation of every layer except the classifier (Miyato et al. 2018,
            arXiv 1802.05957).
        projection: add the inner product of the features with an embedding of the label to the
            adversarial logit (Miyato & Koyama 2018, arXiv 1802.05637, eq. 3).
    """

    sample_independent = True

    def __init__(
        self,
        num_classes: Count,
        channels: Count,
        image_size: ImageSize,
        width: Count,
        spectral: bool,
        projection: bool,
    ) -> None:
        super().__init__()
        normalise = spectral_norm if spectral else _identity
        self.trunk, self.num_features = trunk(channels, image_size, width, 4, 1, normalise)
        self.adversarial = normalise(nn.Linear(self.num_features, 1))
        self.classify = ClassLinear(self.num_features, num_classes)
        self.embedding: nn.Module | None = None
        if projection:
            table = ClassTable(num_classes, self.num_features)
            nn.init.normal_(table.weight, std=0.01)  # nearly neutral for classes not yet seen
            self.embedding = normalise(table)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, channels, S, S), labels (B,) -> adversarial (B,) and class logits (B, num_classes)."""
        features = self.trunk(images)
        adversarial = self.adversarial(features).squeeze(1)
        if self.embedding is not None:
            adversarial = adversarial + (features * self.embedding(labels)).sum(dim=1)
        return adversarial, self.classify(features)


def _identity(layer: nn.Module) -> nn.Module:
    return layer


def trunk(
    channels: int,
    image_size: int,
    width: int,
    kernel_size: int,
    padding: int,
    normalise: Callable[[nn.Module], nn.Module] = _identity,
) -> tuple[nn.Sequential, int]:
    """[convolution with stride 2, leaky ReLU] x n, down to BASE pixels, flattened.

    Args:
        channels: channels of the images (B, channels, S, S).
        image_size: S.
        width: channels of the first feature map; each later one has twice as many.
        kernel_size, padding: of the convolutions; they must halve height and width.
        normalise: what is done to every convolution.

    Returns:
        The layers, and the number of features F of their output (B, F).
    """
    doublings = num_doublings(image_size, BASE)
    widths = [channels, *(width * 2**i for i in range(doublings))]
    kinds = [ThinInputConv2d, *[nn.Conv2d] * (doublings - 1)]
    layers: list[nn.Module] = []
    for kind, (before, after) in zip(kinds, itertools.pairwise(widths), strict=True):
        conv = kind(before, after, kernel_size=kernel_size, stride=2, padding=padding)
        layers += [normalise(conv), nn.LeakyReLU(0.2, inplace=True)]
    # flattened before the last activation: the gradient of a flattened map is not channels last, and an
    # activation takes thirty times as long to bring a gradient of one layout to values of another
    layers.insert(-1, nn.Flatten())
    whole = nn.Sequential(*layers)
    # saves 1 % of a step with one thread, 5 % with two: oneDNN returns gradients in this order anyway
    whole.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return whole, widths[-1] * BASE * BASE
