"""Differentiable augmentation of all images that a discriminator sees.

Real, replayed and generated images are augmented alike, in the steps of both networks. So the generator is
not rewarded for augmented images, and the discriminator cannot win by knowing a few real ones by heart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mergan.config.ranges import NonNegative, Portion
from mergan.system import whole_batch


class Augmentation(ABC):
    """A random change of images, differentiable with respect to their values."""

    @abstractmethod
    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Change every image by its own random amounts.

        Args:
            images: (B, C, S, S) in [-1, 1]; they are not modified.
            rng: the source of all random numbers, on the device of the images.

        Returns:
            (B, C, S, S); the values may leave [-1, 1].
        """


class NoAugmentation(Augmentation):
    """The images as they are."""

    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        return images


class DiffAugment(Augmentation):
    """Changes of colour, shift and cutout (Zhao et al. 2020, arXiv 2006.10738).

    Args:
        probability: share of the images that is augmented, drawn anew for every image. At 0 nothing is drawn.
        brightness, saturation, contrast, translation, cutout: the strengths, see the functions for them; at 0
            a change is left out.
    """

    def __init__(
        self,
        probability: Portion,
        brightness: Portion,
        saturation: NonNegative,
        contrast: Portion,
        translation: Portion,
        cutout: Portion,
    ) -> None:
        self.probability = probability
        self.changes = [
            (change, strength)
            for change, strength in (
                (brighten, brightness),
                (saturate, saturation),
                (stretch, contrast),
                (translate, translation),
                (cut_out, cutout),
            )
            if strength > 0
        ]

    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        if self.probability == 0:
            return images
        changed = images
        for change, strength in self.changes:
            changed = change(changed, strength, rng)
        if self.probability == 1:
            return changed
        return torch.where(_uniform(images, rng) < self.probability, changed, images)


def brighten(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Add one number to all values of an image (B, C, S, S), uniform in [-strength, strength]."""
    return images + strength * (2 * _uniform(images, rng) - 1)


def saturate(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Scale the distance of every pixel from its grey value, the mean over the channels.

    Args:
        images: (B, C, S, S); images of one channel do not change.
        strength: the factor is uniform in [1 - strength, 1 + strength].
        rng: the random numbers.
    """
    return torch.lerp(images.mean(dim=1, keepdim=True), images, _factor(images, strength, rng))


def stretch(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Scale the distance of every value from the mean of its image: a change of contrast.

    Args:
        images: (B, C, S, S).
        strength: the factor is uniform in [1 - strength, 1 + strength].
        rng: the random numbers.
    """
    return torch.lerp(images.mean(dim=(1, 2, 3), keepdim=True), images, _factor(images, strength, rng))


def translate(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Shift an image by whole pixels; zeros (mid grey) move in.

    Args:
        images: (B, C, S, S).
        strength: the largest shift along each axis, as a share of the side S.
        rng: the random numbers.
    """
    count, _, side, _ = images.shape
    most = round(side * strength)
    size = (2, whole_batch.total(count), 1)
    shift = torch.randint(0, 2 * most + 1, size, generator=rng, device=images.device)
    rows, columns = whole_batch.own(shift, dim=1) + torch.arange(side, device=images.device)
    padded = nn.functional.pad(images, (most, most, most, most)).permute(0, 2, 3, 1)
    which = torch.arange(count, device=images.device)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Set a square at a random place to zero (mid grey); it may reach over the border.

    Args:
        images: (B, C, S, S).
        strength: the side of the square, as a share of the side S.
        rng: the random numbers.
    """
    count, _, side, _ = images.shape
    drawn = torch.rand(2, whole_batch.total(count), 1, generator=rng, device=images.device)
    centres = side * whole_batch.own(drawn, dim=1)
    pixels = torch.arange(side, device=images.device) + 0.5
    rows, columns = (pixels - centres).abs() <= side * strength / 2
    return images * ~(rows[:, :, None] & columns[:, None, :])[:, None]


def _factor(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    return 1 + strength * (2 * _uniform(images, rng) - 1)


def _uniform(images: Tensor, rng: torch.Generator) -> Tensor:
    """One number in [0, 1) per image, (B, 1, 1, 1)."""
    drawn = torch.rand(whole_batch.total(len(images)), 1, 1, 1, generator=rng, device=images.device)
    return whole_batch.own(drawn).to(images.dtype)
