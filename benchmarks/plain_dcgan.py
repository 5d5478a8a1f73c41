"""network=dcgan by the plain formulas: the same functions and initial weights without the fast blocks.

    python train.py network.generator._target_=benchmarks.plain_dcgan.Generator \
        network.discriminator._target_=benchmarks.plain_dcgan.Discriminator

trains with it, to see that the fast blocks cost no quality (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

from benchmarks.plain_networks import make_plain
from mergan.networks import dcgan


class Generator(dcgan.Generator):
    """The generator with transposed convolutions throughout and normalisation in three operations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        make_plain(self)


class Discriminator(dcgan.Discriminator):
    """The discriminator of convolutions throughout, with real and generated images in passes of their own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        make_plain(self)
