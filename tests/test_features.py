"""The feature spaces: their values, and what each of them sees and misses."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mergan import config
from mergan.config.instantiate import part
from mergan.data import normalise
from mergan.data.image_set import ImageSet
from mergan.evaluation.features import FeatureSpace
from mergan.evaluation.features.judge import JudgeFeatures
from mergan.evaluation.features.random import vgg16
from mergan.evaluation.metrics import Comparison, FeatureSet
from mergan.evaluation.training import train_classifier
from mergan.output import tables
from mergan.run import experiment
from mergan.run.measurement import measure
from mergan.system.errors import ConfigError


def space(name: str, **arguments: object) -> FeatureSpace:
    """A feature space as conf/ describes it, with changes."""
    made: FeatureSpace = part(f"evaluation.spaces.{name}", **arguments)
    return made


def some_images(count: int, channels: int, size: int) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=rng)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32), (3, 64)])
def test_pixels_are_the_means_of_blocks(channels: int, size: int) -> None:
    images = some_images(3, channels, size)
    side = size // 8
    blocks = images.numpy().reshape(3, channels, 8, side, 8, side).mean(axis=(3, 5)) / 255
    np.testing.assert_allclose(space("pixels")(images), blocks.reshape(3, -1), rtol=1e-12)


def test_random_features_are_those_of_torchvisions_vgg16() -> None:
    """The same weights in torchvision's network, whose first linear layer has 49 copies of the last map."""
    from torchvision.models import vgg16 as theirs

    own = space("random", outputs=5, gain=1.0)
    with torch.device("meta"):
        network = theirs(num_classes=5)
    network = network.to_empty(device="cpu").eval()
    layers, first, second, third = (own.network[index] for index in (0, 2, 4, 6))  # type: ignore[attr-defined]
    network.features.load_state_dict(layers.state_dict())
    with torch.no_grad():
        for their, mine in zip((0, 3, 6), (first, second, third), strict=True):
            copies = their_inputs(network.classifier[their]) // mine.in_features
            network.classifier[their].weight.copy_(mine.weight.repeat_interleave(copies, dim=1) / copies)
            network.classifier[their].bias.copy_(mine.bias)
        images = some_images(3, 3, 32)
        expected = network(normalise(images))
    features = own(images)
    assert features.shape == (3, 5)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-7)


def their_inputs(layer: nn.Module) -> int:
    assert isinstance(layer, nn.Linear)
    return layer.in_features


def test_weights_of_the_random_network_have_torchvisions_deviations() -> None:
    torch.manual_seed(0)
    layers, _, *rest = vgg16(1, 64)
    convolutions = [layer for layer in layers.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 13
    for layer in convolutions:
        assert layer.weight.std().item() == pytest.approx((2 / (9 * layer.out_channels)) ** 0.5, rel=0.05)
    deviations = [layer.weight.std().item() for layer in rest if isinstance(layer, nn.Linear)]
    assert deviations == pytest.approx([0.07, 0.01, 0.01], rel=0.02)


def test_random_features_depend_on_the_seed_and_on_each_image_alone() -> None:
    images = some_images(7, 1, 16)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    features = space("random")(images)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    again = space("random")
    assert torch.equal(again(images), features)
    torch.testing.assert_close(again(images[3:4]), features[3:4], rtol=1e-4, atol=1e-6)
    assert torch.equal(again(images.expand(-1, 3, -1, -1)), features)  # grey is repeated
    assert not torch.allclose(space("random", seed=1)(images), features)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_random_features_take_every_size(size: int) -> None:
    assert space("random", outputs=4)(some_images(2, 3, size)).shape == (2, 4)


# ---------------------------------------------------------------- what each sees and misses

SIDE, EACH = 32, 120


def pictures(seed: int, backgrounds: int | None = None, coloured: bool = True, label: int = 0) -> Tensor:
    """Bars (class 0) or discs (class 1) on smooth coloured backgrounds: uint8 (EACH, 3, SIDE, SIDE).

    Args:
        seed: seed of the pictures.
        backgrounds: number of different backgrounds, None for one per picture.
        coloured: false gives all channels the same value.
        label: the class.
    """
    rng = np.random.default_rng(seed)
    count = EACH if backgrounds is None else backgrounds
    places = rng.integers(0, count, EACH) if backgrounds else np.arange(EACH)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = rng.uniform(-6, 6, (count, 3, 2)) @ np.stack([y.ravel(), x.ravel()])
    ground = 0.5 + 0.3 * np.sin(waves.reshape(count, 3, SIDE, SIDE) + rng.uniform(0, 6, (count, 3, 1, 1)))
    centre = rng.uniform(0.4, 0.6, (EACH, 2, 1, 1))
    down, right = y - centre[:, 0], x - centre[:, 1]
    shape = (abs(right) < 0.08) & (abs(down) < 0.3) if label == 0 else down**2 + right**2 < 0.04
    drawn = np.where(shape[:, None], 1 - ground[places], ground[places])
    if not coloured:
        drawn = drawn.mean(axis=1, keepdims=True).repeat(3, axis=1)
    return torch.from_numpy((drawn * 255).astype(np.uint8))


CASES: dict[str, Callable[[], list[Tensor]]] = {
    "real": lambda: [pictures(1)],
    # several times, each with another one: a single one may happen to lie near many or few real ones
    "one background": lambda: [pictures(seed, backgrounds=1) for seed in range(1, 11)],
    "no colours": lambda: [pictures(1, coloured=False)],
    "one picture": lambda: [pictures(1)[:1].expand(EACH, -1, -1, -1)],
    "another class": lambda: [pictures(1, label=1)],
}


@pytest.fixture(scope="module")
def spaces() -> dict[str, FeatureSpace]:
    """The features of a judge that tells bars from discs, random features and pixels."""
    images = torch.cat([pictures(10 + seed, label=seed % 2) for seed in range(8)])
    train = ImageSet(images.numpy(), np.arange(8).repeat(EACH) % 2)
    judge = train_classifier(
        train, tiny.classifier_of("plain", 3, SIDE, 2), seed=0, augment=True, max_steps=160
    )
    return {"judge": JudgeFeatures(judge), "random": space("random"), "pixels": space("pixels")}


@pytest.fixture(scope="module")
def figures(spaces: dict[str, FeatureSpace]) -> dict[tuple[str, str], dict[str, float]]:
    """Recall, coverage, diversity and FID by case and feature space; the mean over what a case lists."""
    metrics = {
        "recall": tiny.metric_of("recall", k=5),
        "coverage": tiny.metric_of("coverage", k=5),
        "diversity": tiny.metric_of("diversity"),
        "fid": tiny.metric_of("fid", min_references=100),
    }
    found = {}
    for name, features in spaces.items():
        real = FeatureSet(features(pictures(0)))
        for case, make in CASES.items():
            pairs = [Comparison(real, FeatureSet(features(generated))) for generated in make()]
            found[case, name] = {
                key: float(np.mean([metric(pair) for pair in pairs])) for key, metric in metrics.items()
            }
    return found


Figures = dict[tuple[str, str], dict[str, float]]


@pytest.mark.parametrize("name", ["judge", "random", "pixels"])
def test_real_against_real_is_near_the_ceiling(figures: Figures, name: str) -> None:
    assert figures["real", name]["recall"] > 0.8 and figures["real", name]["coverage"] > 0.85


@pytest.mark.parametrize("name", ["judge", "random", "pixels"])
def test_one_picture_shows_in_every_space(figures: Figures, name: str) -> None:
    got = figures["one picture", name]
    assert got["recall"] == 0 and got["coverage"] < 0.3
    assert got["diversity"] == pytest.approx(0, abs=1e-9)


def test_one_background_shows_in_random_features_and_pixels_and_hardly_in_shapes(figures: Figures) -> None:
    for name in ("random", "pixels"):
        got = figures["one background", name]
        assert got["coverage"] < 0.3 and got["recall"] < 0.2, (name, got)
    assert figures["one background", "judge"]["coverage"] > 0.4


def test_missing_colours_show_in_coverage_by_random_and_recall_by_pixels(
    figures: Figures,
) -> None:
    """Averaged grey images lie in the middle of the coloured ones, where the balls of many of them reach."""
    assert figures["no colours", "random"]["coverage"] < 0.6
    assert figures["no colours", "pixels"]["recall"] < 0.2 < 0.9 < figures["no colours", "pixels"]["coverage"]
    assert figures["no colours", "pixels"]["diversity"] < 0.6
    for name in ("random", "pixels"):
        assert figures["no colours", name]["fid"] > 3 * figures["real", name]["fid"], name


def test_another_class_shows_to_the_judge_and_hardly_in_pixels(figures: Figures) -> None:
    assert figures["another class", "judge"]["coverage"] < 0.1
    assert figures["another class", "pixels"]["coverage"] > 0.8
    assert figures["another class", "random"]["coverage"] > 0.6


# ---------------------------------------------------------------- in a run


class Brightness(FeatureSpace):
    """A feature space of one's own: mean and deviation of an image."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, images: Tensor) -> Tensor:
        values = images.double().flatten(1) * self.scale
        return torch.stack([values.mean(dim=1), values.std(dim=1)], dim=1)


OWN = [
    "+evaluation.spaces.brightness._target_=test_features.Brightness",
    "+evaluation.spaces.brightness.scale=0.1",
]


def test_colour_is_measured_in_three_spaces_by_default(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    metrics = experiment.run(compose("data.channels=3", "strategy=finetune", "epochs=1"), tmp_path)
    names = {"precision", "recall", "density", "coverage", "kid", "diversity"}
    for suffix in ("", "_random", "_pixels"):
        assert {f"{name}{suffix}" for name in names} <= set(metrics), suffix
    assert {"recall_random_forgetting", "coverage_pixels_first_task"} <= set(metrics)
    assert metrics["evaluation_features"] == "judge,random,pixels"
    assert metrics["evaluation_samples_per_class_random"] == 4
    assert (tmp_path / "recall_random_matrix.csv").is_file()
    saved = OmegaConf.load(tmp_path / "config.yaml").evaluation
    assert saved.features == ["judge", "random", "pixels"] and saved.classifier == "residual"
    columns = tables.columns([metrics])
    assert {"coverage_random", "coverage_pixels", "judge_accuracy"} <= set(columns)
    assert "-" not in tables.figures(metrics, columns)[:4]


def test_grey_is_measured_by_the_judge_alone_by_default(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    run = tiny.build(compose(), tmp_path)
    assert list(run.evaluation.evaluator.spaces) == ["judge"]
    assert type(run.evaluation.evaluator.judge).__name__ == "Plain"
    assert not any(
        "_" in key for key in tables.columns([{}]) if key.startswith(("recall", "coverage", "fid"))
    )


def test_spaces_are_chosen_by_name_and_a_word_is_a_list_of_one(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    metrics = experiment.run(compose("evaluation.features=pixels", "epochs=1"), tmp_path / "a")
    assert "recall_pixels" in metrics and "recall" not in metrics and "accuracy" in metrics
    own = experiment.run(compose(*OWN, "evaluation.features=[judge,brightness]", "epochs=1"), tmp_path / "b")
    assert {"recall", "recall_brightness", "kid_brightness_forgetting"} <= set(own)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("evaluation.features=[judge,vgg]", "there is no vgg; use a list of feature spaces: judge, random"),
        ("evaluation.features=[judge,judge]", "each once"),
        ("evaluation.features=3", "use a list of feature spaces"),
        ("evaluation.features_default.colour=[sight]", "there is no sight"),
        ("evaluation.classifier=large", "use one of plain, residual"),
        ("evaluation.spaces.pixels=null evaluation.features=[pixels]", "there is no pixels"),
    ],
)
def test_spaces_and_classifiers_that_do_not_exist_are_refused(
    compose: Callable[..., DictConfig], word: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refusal:
        compose(*word.split())
    assert "\n" not in str(refusal.value)


def test_a_figure_cannot_take_the_name_of_another(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    taken = "+evaluation.metrics.recall_pixels._target_=mergan.evaluation.metrics.diversity.Diversity"
    with pytest.raises(ConfigError, match="recall_pixels is taken"):
        tiny.build(compose(taken, "evaluation.features=[judge,pixels]"), tmp_path)


def test_a_checkpoint_can_be_measured_in_further_spaces(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    cfg = compose("strategy=finetune", "epochs=1")
    final = experiment.run(cfg, tmp_path / "run")
    path, out = tmp_path / "run" / "checkpoints" / "last.ckpt", tmp_path / "figures.json"
    own = {"checkpoint": str(path), "out": str(out), "cache_dir": cfg.cache_dir}
    wider = OmegaConf.create({**own, "evaluation": cfg.evaluation})
    wider.evaluation.features = ["judge", "pixels"]
    measure(OmegaConf.merge(config.compose(name="evaluate"), wider))
    again = json.loads(out.read_text())
    assert again["recall_forgetting"] == pytest.approx(final["recall_forgetting"])
    assert "recall_pixels" in again and "recall_pixels_forgetting" not in again


def test_a_judge_that_errs_is_warned_of(
    compose: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = experiment.run(compose("scenario.tasks=[[0,1]]", "epochs=1"), tmp_path / "weak")
    assert metrics["judge_accuracy"] < 0.9  # two steps of training
    (record,) = [record for record in caplog.records if "the judge recognises only" in record.getMessage()]
    assert record.levelno == logging.WARNING and "\n" not in record.getMessage()


# ---------------------------------------------------------------- the judge of colour images


@pytest.mark.parametrize("size", [16, 64])
def test_the_residual_judge_learns_at_every_size(size: int) -> None:
    images = torch.cat([pictures(10 + seed, label=seed % 2) for seed in range(2)])
    resized = nn.functional.interpolate(images.float(), size=size, mode="bilinear").byte()
    train = ImageSet(resized.numpy(), np.arange(2).repeat(EACH))
    fresh = tiny.classifier_of("residual", 3, size, 2)
    judge = train_classifier(train, fresh, seed=0, augment=True, max_steps=25)
    features, classes = judge.look(resized)
    assert features.shape == (2 * EACH, 128)
    assert (classes.numpy() == train.labels).mean() > 0.8
