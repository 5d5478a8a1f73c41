"""Real images in the place of generated ones: what the metrics give at best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mergan.data import normalise
from mergan.data.image_set import ImageSet
from mergan.system.errors import ConfigError


class RealImages:
    """Hands out real training images as a generator would, each class in an order of its own.

    The images of a class come one after another and start again at the end, so that no image is seen twice
    before all have been seen.

    Args:
        images: the real training images.
        seed: seed of the order.
    """

    def __init__(self, images: ImageSet, seed: int) -> None:
        self.images = images
        self.seed = seed
        self._given: dict[int, int] = {}

    def check(self, classes: Sequence[int], names: Sequence[str], key: str, count: int) -> None:
        """Refuse to hand out more images of a class at a time than there are.

        Args:
            classes: the classes that are asked for.
            names: the names of all classes.
            key: the key that gives the number, for the message.
            count: images per class.

        Raises:
            ConfigError: a class has fewer; the message names it.
        """
        for label in classes:
            there = len(self.images.indices_of([label]))
            if there < count:
                raise ConfigError(
                    f"{key}={count}: class {names[label]} has {there} real training images, use no more"
                )

    def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) of one class -> images (B, C, S, S) in [-1, 1]; z only counts."""
        label = int(labels[0])
        rows = np.random.default_rng((self.seed, label)).permutation(self.images.indices_of([label]))
        first = self._given.get(label, 0)
        self._given[label] = first + len(z)
        chosen, _ = self.images.take(rows[np.arange(first, first + len(z)) % len(rows)])
        return normalise(torch.from_numpy(chosen))
