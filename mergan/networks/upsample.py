"""The pair of MeRGAN-V2: nearest up-sampling with 3x3 convolutions; the label embedding multiplies z."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from mergan.config.ranges import Count, ImageSize, Share
from mergan.networks.fast.thin import ThinInputConv2d, ThinOutputConv2d
from mergan.networks.fast.upsample_conv import UpsampleConv2d
from mergan.networks.layers import ClassLinear, ClassTable, num_doublings

BN_EPS = 0.8  # V2's setting; it damps the normalisation of small activations


class Generator(nn.Module):
    """(z * label embedding) -> linear -> two nearest up-samplings with 3x3 convolutions -> tanh.

    Args:
        latent_dim: size of z and of the label embedding.
        num_classes: classes of the data set.
        channels: channels of the images, 1 to 4.
        image_size: 16, 32, 64 or 128.
        width: channels of the last hidden feature map; the earlier ones have twice as many.
    """

    def __init__(
        self,
        latent_dim: Count,
        num_classes: Count,
        channels: Count,
        image_size: ImageSize,
        width: Count,
    ) -> None:
        super().__init__()
        num_doublings(image_size, start=4)
        self.start = image_size // 4
        self.embedding = ClassTable(num_classes, latent_dim)
        self.project = nn.Linear(latent_dim, 2 * width * self.start**2)
        self.trunk = nn.Sequential(
            nn.BatchNorm2d(2 * width, eps=1e-5),
            nn.Identity(),  # formerly the up-sampling; keeps the weight names in checkpoints
            UpsampleConv2d(2 * width, 2 * width),
            nn.BatchNorm2d(2 * width, eps=BN_EPS),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Identity(),
            UpsampleConv2d(2 * width, width),
            nn.BatchNorm2d(width, eps=BN_EPS),
            nn.LeakyReLU(0.2, inplace=True),
            ThinOutputConv2d(width, channels, kernel_size=3, padding=1),
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, channels, S, S) in [-1, 1]."""
        x = self.project(z * self.embedding(labels)).unflatten(1, (-1, self.start, self.start))
        return torch.tanh(self.trunk(x.contiguous(memory_format=torch.channels_last)))


class Discriminator(nn.Module):
    """Four 3x3 convolutions with stride 2, leaky ReLU, Dropout2d and batch norm -> two linear heads.

    V2 applies a sigmoid and a softmax to the heads. Here the heads return logits, and the losses apply the
    non-linearity once. V2's cross entropy applies the softmax twice, which is not reproduced.

    Args:
        num_classes: classes of the data set.
        channels: channels of the images.
        image_size: 16, 32, 64 or 128.
        width: channels of the first feature map; each later one has twice as many.
        dropout: share of feature maps that are dropped in training.
    """

    sample_independent = False

    def __init__(
        self,
        num_classes: Count,
        channels: Count,
        image_size: ImageSize,
        width: Count,
        dropout: Share,
    ) -> None:
        super().__init__()
        num_doublings(image_size, start=4)
        widths = [channels, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(itertools.pairwise(widths)):
            conv = ThinInputConv2d if index == 0 else nn.Conv2d
            layers += [
                conv(before, after, kernel_size=3, stride=2, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Dropout2d(dropout),
            ]
            if index > 0:
                layers.append(nn.BatchNorm2d(after, eps=BN_EPS))
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a tenth faster on a CPU
        self.num_features = widths[-1] * (image_size // 16) ** 2
        self.adversarial = nn.Linear(self.num_features, 1)
        self.classify = ClassLinear(self.num_features, num_classes)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, channels, S, S), labels unused -> adversarial (B,) and class logits (B, num_classes)."""
        features = self.trunk(images)
        return self.adversarial(features).squeeze(1), self.classify(features)
