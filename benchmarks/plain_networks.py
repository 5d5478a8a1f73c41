"""Networks by the plain formulas: the same functions and weights without the fast blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, group_norm, interpolate

from mergan.networks.fast.pooled_conv import PooledConv2d
from mergan.networks.fast.thin import ThinConvTranspose2d, ThinInputConv2d, ThinOutputConv2d
from mergan.networks.fast.upsample_conv import TransposedUpsampleConv2d, UpsampleConv2d
from mergan.networks.layers import ConditionalNorm


class PlainNorm(ConditionalNorm):
    """Group normalisation of each sample, then its scale and shift."""

    def forward(self, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(labels, z)
        return group_norm(x, self.groups) * scale[:, :, None, None] + shift[:, :, None, None]


class PlainUpsample(nn.Conv2d):
    """A convolution of the up-sampled image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(interpolate(x, scale_factor=2))


class PlainPooled(nn.Conv2d):
    """A convolution, then average pooling."""

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(super().forward(x), 2)


PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    ConditionalNorm: PlainNorm,
    ThinConvTranspose2d: nn.ConvTranspose2d,
    ThinInputConv2d: nn.Conv2d,
    ThinOutputConv2d: nn.Conv2d,
    UpsampleConv2d: PlainUpsample,
    TransposedUpsampleConv2d: PlainUpsample,
    PooledConv2d: PlainPooled,
}


def make_plain(network: nn.Module) -> None:
    """Change the layers of a network in place; the parameters stay, only the computation is another one.

    A discriminator then sees real and generated images in passes of their own.

    Raises:
        ValueError: it has a layer without a plain form here.
    """
    for module in network.modules():
        if getattr(module, "kind", "group") != "group":
            raise ValueError("norm=batch has no plain form here, use norm=group")
        if nn.utils.parametrize.is_parametrized(module):
            raise ValueError("a layer with spectral normalisation has no plain form here")
        module.__class__ = PLAIN.get(type(module), type(module))  # type: ignore[assignment]
    network.sample_independent = False  # type: ignore[assignment]
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
