"""The pair of MeRGAN-V2 with V2's initial weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from mergan.networks import upsample

STD = 0.02  # of all normal distributions


class Generator(upsample.Generator):
    """The generator of mergan.networks.upsample with convolutions from N(0, 0.02^2) and norms from
    N(1, 0.02^2); embedding, linear layers and biases keep PyTorch's initial values.

    Args:
        **shape: see mergan.networks.upsample.Generator.
    """

    def __init__(self, **shape: Any) -> None:
        super().__init__(**shape)
        self.apply(initialise)


class Discriminator(upsample.Discriminator):
    """The discriminator of mergan.networks.upsample, likewise.

    Args:
        **shape: see mergan.networks.upsample.Discriminator.
    """

    def __init__(self, **shape: Any) -> None:
        super().__init__(**shape)
        self.apply(initialise)


def initialise(layer: nn.Module) -> None:
    """Draw the weights of a convolution or a batch norm; others stay as they are."""
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, 0.0, STD)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, STD)
