"""Differentiable augmentation: each change against its definition, gradients, and where it is applied."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mergan.config.instantiate import part
from mergan.learners import augmentation
from mergan.learners.augmentation import DiffAugment, NoAugmentation

STRENGTHS = {"brightness": 0.0, "saturation": 0.0, "contrast": 0.0, "translation": 0.0, "cutout": 0.0}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 64, channels: int = 3, side: int = 16) -> Tensor:
    return torch.rand(count, channels, side, side, generator=rng(1), dtype=torch.float64) * 2 - 1


def only(probability: float = 1.0, **strength: float) -> DiffAugment:
    return DiffAugment(probability, **(STRENGTHS | strength))


def test_brightness_adds_one_number_to_an_image() -> None:
    images = pictures()
    added = (only(brightness=0.5)(images, rng()) - images).flatten(1)
    assert torch.allclose(added, added[:, :1].expand_as(added))
    assert added.abs().max() <= 0.5
    assert added[:, 0].std() == pytest.approx(0.5 / 3**0.5, rel=0.2)


def test_saturation_scales_the_colours_and_keeps_the_grey_value() -> None:
    images = pictures()
    changed = only(saturation=1.0)(images, rng())
    assert torch.allclose(changed.mean(dim=1), images.mean(dim=1))
    factors = (changed - changed.mean(dim=1, keepdim=True)) / (images - images.mean(dim=1, keepdim=True))
    factors = factors.flatten(1)
    assert torch.allclose(factors, factors.median(dim=1, keepdim=True).values.expand_as(factors))
    assert 0 <= factors.min() < 0.2
    assert 1.8 < factors.max() <= 2 + 1e-9


def test_saturation_leaves_grey_images_alone() -> None:
    images = pictures(channels=1)
    assert torch.allclose(only(saturation=1.0)(images, rng()), images)


def test_contrast_scales_the_distance_from_the_mean_of_an_image() -> None:
    images = pictures()
    changed = only(contrast=0.5)(images, rng())
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    factors = ((changed - mean) / (images - mean)).flatten(1)
    assert torch.allclose(factors, factors.median(dim=1, keepdim=True).values.expand_as(factors))
    assert 0.5 <= factors.min() < factors.max() <= 1.5


def test_translation_moves_whole_pixels_and_zeros_move_in() -> None:
    images = pictures()
    changed = only(translation=0.125)(images, rng())
    seen = set()
    for before, after in zip(images, changed, strict=True):
        fits = []
        for down in range(-2, 3):
            for right in range(-2, 3):
                expected = torch.zeros_like(before)
                source = before[:, max(0, -down) : 16 - max(0, down), max(0, -right) : 16 - max(0, right)]
                expected[:, max(0, down) : 16 - max(0, -down), max(0, right) : 16 - max(0, -right)] = source
                if torch.equal(expected, after):
                    fits.append((down, right))
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 15  # of 25


def test_cutout_removes_a_square_and_nothing_else() -> None:
    images = pictures()
    gone = (only(cutout=0.5)(images, rng()) == 0) & (images != 0)
    assert torch.equal(gone.any(dim=1), gone.all(dim=1))
    for mask in gone.any(dim=1):
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        assert torch.equal(mask, rows[:, None] & columns)
        assert 1 <= rows.sum() <= 8
        assert rows.nonzero().max() - rows.nonzero().min() + 1 == rows.sum()
    assert (gone.any(dim=1).sum(dim=(1, 2)) == 64).any()  # a whole square of 8 x 8


def test_only_a_share_of_the_images_is_augmented() -> None:
    images = pictures(count=400)
    same = (only(0.3, brightness=0.5)(images, rng()) == images).flatten(1).all(dim=1)
    assert same.double().mean().item() == pytest.approx(0.7, abs=0.08)


def test_without_augmentation_no_random_number_is_drawn() -> None:
    images, numbers = pictures(), rng()
    before = numbers.get_state()
    for nothing in (NoAugmentation(), only(0.0, brightness=0.5), only(1.0)):
        assert torch.equal(nothing(images, numbers), images)
    assert torch.equal(numbers.get_state(), before)


def test_gradients_pass_through_twice() -> None:
    images = pictures(count=2, side=4).requires_grad_(True)
    change = only(brightness=0.5, saturation=1.0, contrast=0.5, translation=0.25, cutout=0.5)
    assert torch.autograd.gradcheck(lambda x: change(x, rng()), images)
    assert torch.autograd.gradgradcheck(lambda x: change(x, rng()).square(), images)


def test_every_image_has_its_own_change() -> None:
    image = pictures(count=1).expand(8, -1, -1, -1)
    for name in STRENGTHS:
        changed = only(**{name: 0.5})(image, rng())
        assert len(torch.unique(changed.flatten(1), dim=0)) > 4, name


def test_the_shipped_augmentation_is_that_of_its_paper() -> None:
    made = part("augmentation", "augmentation=diffaugment", probability=1.0)
    names = {change.__name__: strength for change, strength in made.changes}
    assert names == {"brighten": 0.5, "saturate": 1.0, "stretch": 0.5, "translate": 0.125}
    assert isinstance(part("augmentation", "augmentation=none"), augmentation.NoAugmentation)
