"""MNIST with a black margin instead of scaling, as in the code of Memory Replay GANs."""

from __future__ import annotations

import numpy as np

from mergan.data.mnist_5k import MNIST5k
from mergan.data.source import ArraySource, Split
from mergan.data.torchvision_sets import TorchvisionSet

SIDE = 32  # pixels: the digits of 28 pixels get a margin of two on every side


class Padded(ArraySource):
    """A source of images of at most `SIDE` pixels, centred in a black square; to be named before it.

    `Source.identity` stays that of the images: as scaling does, the margin only prepares them.
    """

    def fingerprint(self) -> str:
        own = super().fingerprint()  # type: ignore[safe-super]  # that of the source beside it
        return f"{own}, padded to {SIDE}"

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        images, labels = super().read(split)  # type: ignore[safe-super]  # likewise
        margins = [divmod(SIDE - side, 2) for side in images.shape[2:]]
        around = [(half, half + odd) for half, odd in margins]
        return np.pad(images, [(0, 0), (0, 0), *around]), labels


class PaddedTorchvisionSet(Padded, TorchvisionSet):
    """One of torchvision's data sets of grey images with at most 32 pixels, padded. See TorchvisionSet."""


class PaddedMNIST5k(Padded, MNIST5k):
    """The digits of MNIST5k, padded."""
