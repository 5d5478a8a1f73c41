"""The rules that choose settings from the images, as docs/configuration.md states them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import tiny
from omegaconf import OmegaConf

from mergan import config
from mergan.run import recipe
from mergan.run.recipe import RULES

PUBLISHED = sorted(
    path.stem
    for path in (tiny.ROOT / "conf" / "experiment").glob("*.yaml")
    if path.stem.startswith(("paper_", "v2_"))
)


@dataclass
class Seen:
    """Images and a stream, as the rules ask about them."""

    channels: int = 3
    image_size: int = 32
    images_per_class: float = 1500.0
    num_classes: int = 10
    steps_per_epoch: int = 100
    num_tasks: int | None = 10


@pytest.mark.parametrize(("size", "width"), [(16, 32), (32, 32), (64, 16), (128, 16)])
def test_colour_networks_are_wide_up_to_32_pixels(size: int, width: int) -> None:
    for network in ("generator", "discriminator"):
        assert RULES[f"network.{network}.width"](Seen(image_size=size)) == width
        assert RULES[f"network.{network}.width"](Seen(channels=1, image_size=size)) == 16


@pytest.mark.parametrize(("images", "probability"), [(1, 1.0), (799.9, 1.0), (800, 0.0), (5000, 0.0)])
def test_few_colour_images_are_augmented(images: float, probability: float) -> None:
    assert RULES["augmentation.probability"](Seen(images_per_class=images)) == probability
    assert RULES["augmentation.probability"](Seen(channels=1, images_per_class=images)) == 0.0


def test_backgrounds_need_z_in_the_norms_and_no_mode_seeking() -> None:
    grey = Seen(channels=1)
    assert [RULES["network.generator.modulation"](one) for one in (grey, Seen())] == ["class", "class_and_z"]
    assert [RULES["objective.mode_seeking"](one) for one in (grey, Seen())] == [0.05, 0.0]


@pytest.mark.parametrize(
    ("changes", "private_z"),
    [({}, 16), ({"channels": 1}, 0), ({"num_tasks": 1}, 0), ({"num_tasks": None}, 0), ({"num_tasks": 2}, 16),
     ({"num_classes": 50}, 16), ({"num_classes": 51}, 0)],
)  # fmt: skip
def test_classes_have_weights_of_their_own_in_several_colour_tasks(
    changes: dict[str, int], private_z: int
) -> None:
    assert RULES["network.generator.private_z"](Seen(**changes)) == private_z


@pytest.mark.parametrize("preset", PUBLISHED)
def test_published_settings_leave_nothing_of_the_training_to_the_rules(preset: str) -> None:
    cfg = config.compose(f"experiment={preset}")
    assert [key for key in RULES if OmegaConf.select(cfg, key, default="absent") is None] == []


@pytest.mark.parametrize("steps", [1, 7, 100, 450])
def test_the_first_colour_task_is_longer_and_no_task_too_short(steps: int) -> None:
    first, *later = RULES["epochs"](Seen(steps_per_epoch=steps))
    assert 0 <= first * steps - recipe.COLOUR_FIRST_STEPS < steps
    assert len(later) == 9
    assert all(0 <= epochs * steps - recipe.COLOUR_STEPS < steps for epochs in later)
    # networks that continue a stream, and classes that are all learned at once
    assert RULES["epochs"](Seen(steps_per_epoch=steps, num_tasks=None)) == later[0]
    assert RULES["epochs"](Seen(channels=1, steps_per_epoch=steps)) == 5


def test_the_page_of_the_configuration_tells_these_lengths() -> None:
    page = (tiny.ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert (
        f"make {recipe.COLOUR_STEPS:,} steps per task, and {recipe.COLOUR_FIRST_STEPS:,} for the first"
        in page
    )
