"""network=dcgan by the plain formulas: the same functions and initial weights without the fast blocks.

    python train.py network.generator._target_=benchmarks.plain_dcgan.Generator \
        network.discriminator._target_=benchmarks.plain_dcgan.Discriminator

trains with it, to see that the fast blocks cost no quality (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mergan.networks import dcgan
from mergan.networks.fast.thin import ThinInputConv2d
from mergan.networks.layers import ConditionalNorm


class PlainNorm(ConditionalNorm):
    """Group normalisation of each sample, then scale and shift of its class."""

    def forward(self, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        normed = nn.functional.group_norm(x, self.groups)
        return normed * self.scale(labels)[:, :, None, None] + self.shift(labels)[:, :, None, None]


class Generator(dcgan.Generator):
    """The generator with transposed convolutions throughout and normalisation in three operations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if any(norm.kind != "group" or norm.by_z is not None for norm in self.norms):
            raise ValueError("only norm=group with modulation=class has a plain form here")
        for module in self.modules():  # the parameters stay: only the computation is another one
            if isinstance(module, ConditionalNorm):
                module.__class__ = PlainNorm
            elif isinstance(module, nn.ConvTranspose2d):
                module.__class__ = nn.ConvTranspose2d


class Discriminator(dcgan.Discriminator):
    """The discriminator of convolutions throughout, with real and generated images in passes of their own."""

    sample_independent = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if type(self.trunk[0]) is not ThinInputConv2d:
            raise ValueError("only spectral=false has a plain form here")
        self.trunk[0].__class__ = nn.Conv2d  # type: ignore[assignment]
