"""A network pair of fully connected layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mergan.networks.layers import ClassLinear, ClassTable


class Generator(nn.Module):
    """(z, label embedding) -> two hidden layers -> tanh.

    Args:
        latent_dim: size of z and of the label embedding.
        num_classes, channels, image_size: of the data set.
        width: size of the hidden layers.
    """

    def __init__(self, latent_dim: int, num_classes: int, channels: int, image_size: int, width: int) -> None:
        super().__init__()
        self.shape = (channels, image_size, image_size)
        self.embedding = ClassTable(num_classes, latent_dim)  # its rows belong to single classes
        self.layers = nn.Sequential(
            nn.Linear(2 * latent_dim, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, channels * image_size**2),
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1]."""
        flat = self.layers(torch.cat([z, self.embedding(labels)], dim=1))
        return torch.tanh(flat).unflatten(1, self.shape)


class Discriminator(nn.Module):
    """One hidden layer -> adversarial logit and class logits.

    Args:
        num_classes, channels, image_size: of the data set.
        width: size of the hidden layer.
    """

    sample_independent = True  # no batch statistics: real and generated images may share a pass

    def __init__(self, num_classes: int, channels: int, image_size: int, width: int) -> None:
        super().__init__()
        self.num_features = width
        self.trunk = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * image_size**2, width), nn.LeakyReLU(0.2)
        )
        self.adversarial = nn.Linear(width, 1)
        self.classify = ClassLinear(width, num_classes)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, C, S, S), labels (B,) -> adversarial logits (B,), class logits (B, num_classes)."""
        features = self.trunk(images)
        return self.adversarial(features).squeeze(1), self.classify(features)
