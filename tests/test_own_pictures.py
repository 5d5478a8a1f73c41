"""Own pictures: the shape that is found, the number of pictures per class, and both in a run."""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from mergan import config
from mergan.data import looking
from mergan.data.balance import Passes, images_of_one_pass, remarks
from mergan.data.decoding import Decoder
from mergan.run import automatic, launch
from mergan.run.experiment import build_experiment
from mergan.system.errors import ConfigError, DataError

GREY, RED = (90, 90, 90), (200, 30, 30)


def save(path: Path, picture: Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def shaded(size: tuple[int, int] = (40, 40), seed: int = 0) -> Image.Image:
    """A grey picture that no codec finds easy."""
    noise = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of six grey pictures of 40 x 50 pixels, saved as RGB."""
    for seed in range(6):
        for name in ("cat", "dog"):
            save(tmp_path / "own" / name / f"{seed}.png", shaded((40, 50), seed).convert("RGB"))
    return tmp_path / "own"


def channels(root: Path) -> int:
    return int(tiny.folder_of(root).suited_channels().value)


def size(root: Path) -> int:
    return int(tiny.folder_of(root).suited_size().value)


# ---------------------------------------------------------------- colour


def test_grey_pictures_saved_as_rgb_are_grey(root: Path) -> None:
    assert channels(root) == 1
    assert "no colour in the 12 pictures" in tiny.folder_of(root).suited_channels().why


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [("RGB", "x.jpg", {"quality": 5}), ("RGB", "x.jpg", {"quality": 95, "subsampling": 0}),
     ("RGB", "x.webp", {"quality": 5}), ("CMYK", "x.jpg", {"quality": 50}), ("P", "x.png", {}),
     ("RGBA", "x.png", {}), ("LA", "x.png", {}), ("1", "x.png", {})],
)  # fmt: skip
def test_a_codec_makes_no_colour(mode: str, name: str, options: dict[str, object], root: Path) -> None:
    save(root / "cat" / name, shaded().convert(mode), **options)
    assert channels(root) == 1


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [("RGB", "x.jpg", {"quality": 5}), ("CMYK", "x.jpg", {}), ("P", "x.png", {}), ("RGBA", "x.png", {})],
)
def test_one_picture_with_colour_among_grey_ones_is_found(
    mode: str, name: str, options: dict[str, object], root: Path
) -> None:
    save(root / "dog" / name, Image.new("RGB", (40, 40), RED).convert(mode), **options)
    choice = tiny.folder_of(root).suited_channels()
    assert choice == (3, f"dog/{name} has colour")


def test_a_small_coloured_mark_is_no_colour_and_a_faded_photograph_is() -> None:
    image = np.full((3, 64, 64), 90, dtype=np.uint8)
    image[0, :6, :6] = 200  # 36 of 4,096 pixels
    assert not looking.has_colour(image)
    image[0] = 99
    assert looking.has_colour(image)


def test_the_colour_behind_transparent_parts_counts(tmp_path: Path) -> None:
    clear = Image.new("LA", (40, 40), (90, 0))
    save(tmp_path / "a" / "0.png", clear)
    assert channels(tmp_path) == 1
    assert tiny.folder_of(tmp_path, background="red").suited_channels().value == 3


def test_a_picture_that_cannot_be_decoded_is_named(root: Path) -> None:
    (root / "cat" / "0.png").write_bytes(b"no picture")
    for look in (tiny.folder_of(root).suited_channels, tiny.folder_of(root).suited_size):
        with pytest.raises(DataError, match=r"cannot decode .*cat/0\.png"):
            look()


# ---------------------------------------------------------------- size


@pytest.mark.parametrize(
    ("sides", "expected"),
    [((8, 8), 16), ((20, 24), 16), ((28, 28), 32), ((50, 40), 32), ((51, 300), 32), ((52, 52), 64),
     ((1000, 600), 64)],
)  # fmt: skip
def test_the_size_follows_the_shorter_side(sides: tuple[int, int], expected: int, tmp_path: Path) -> None:
    for turned, shape in enumerate((sides, sides[::-1])):
        save(tmp_path / "a" / f"{turned}.png", Image.new("L", shape))
    assert size(tmp_path) == expected


def test_of_mixed_sizes_the_median_decides(tmp_path: Path) -> None:
    for index, side in enumerate((10, 40, 45, 500, 900)):
        save(tmp_path / "a" / f"{index}.png", Image.new("L", (side, side)))
    assert tiny.folder_of(tmp_path).suited_size() == (
        32, "half of the pictures have a shorter side of 45 pixels or more"
    )  # fmt: skip


def test_only_a_bounded_sample_is_looked_at_spread_over_every_class() -> None:
    classes = [[f"{label}/{index}" for index in range(5000)] for label in range(4)]
    sample = looking._sample(classes, 20, 200)
    assert sample[:5] == ["0/0", "1/0", "2/0", "3/0", "0/263"]
    assert len(sample) == 80 and sample[-1] == "3/4999"
    assert len(looking._sample(classes * 1000, 20, 200)) == 4000  # one of each class


# ---------------------------------------------------------------- values chosen from the data


def composed(tmp_path: Path, root: Path, *overrides: str) -> DictConfig:
    settings = [word for word in tiny.SETTINGS if not word.startswith("data")]
    own = ["data=image_folder", f"data.root={root}", "scenario.classes_per_task=1", "epochs=1"]
    cfg = config.compose(*settings, *own, f"cache_dir={tmp_path / 'cache'}", *overrides)
    config.check(cfg)
    return cfg


def test_nulls_are_filled_and_what_refers_to_them_follows(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = composed(tmp_path, root)
    with caplog.at_level(logging.INFO, "mergan"):
        filled = automatic.filled(cfg)
    assert (cfg.data.channels, cfg.data.image_size) == (None, None)
    assert (filled.data.channels, filled.data.source.channels, filled.data.image_size) == (1, 1, 32)
    chosen = [line.split(" ")[0] for line in caplog.messages]
    assert chosen == ["data.channels=1", "data.image_size=32", "recipe"]
    assert all(line.endswith("=... sets it") for line in caplog.messages[:2])
    assert automatic.filled(filled) == filled
    given = automatic.filled(composed(tmp_path, root, "data.channels=3", "data.image_size=16"))
    assert (given.data.source.channels, given.data.image_size) == (3, 16)


def test_a_data_set_that_does_not_decide_is_refused(tmp_path: Path) -> None:
    for key in ("channels", "image_size"):
        with pytest.raises(
            ConfigError, match=rf"data\.{key}=null: synthetic does not decide it; give data\.{key}"
        ):
            automatic.filled(tiny.compose(tmp_path, f"data.{key}=null"))


def test_a_rule_of_another_key_sees_what_the_data_has(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(facts: automatic.Facts) -> automatic.Choice:
        return automatic.Choice(facts.channels * facts.image_size * facts.images_per_class, "a test")

    monkeypatch.setitem(automatic.OF_THE_DATA, "objective.r1", rule)
    monkeypatch.setitem(automatic.OF_THE_DATA, "objective.no_such_key", rule)
    filled = automatic.filled(composed(tmp_path, root, "objective.r1=null"))
    assert filled.objective.r1 == 1 * 32 * 5  # six pictures, of which one is for testing


def test_smoke_runs_look_at_no_picture(tmp_path: Path) -> None:
    cfg = config.apply_caps(composed(tmp_path, tmp_path / "nowhere", "debug=smoke"))
    assert (cfg.data.channels, cfg.data.image_size) == (3, 32)


def test_a_run_keeps_what_it_has_found(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    cfg = composed(tmp_path, root)
    assert launch.run(cfg, folder)["steps"] > 0
    written = OmegaConf.load(folder / "config.yaml")
    assert (written.data.channels, written.data.source.channels, written.data.image_size) == (1, 1, 32)
    saved = OmegaConf.to_container(written)
    assert isinstance(saved, dict)
    saved["data"]["image_size"] = 16  # as if the pictures had been smaller then
    assert automatic.kept(cfg, saved).data.image_size == 16
    assert automatic.kept(composed(tmp_path, root, "data.image_size=64"), saved).data.image_size == 64


def test_pictures_of_128_pixels_can_be_learned(root: Path, tmp_path: Path) -> None:
    cfg = composed(tmp_path, root, "data.image_size=128", "scenario.classes_per_task=2", "steps_per_epoch=1")
    run = tiny.build(cfg, tmp_path / "run").fit()
    assert run.data.pool.shape["image_size"] == 128
    assert Image.open(io.BytesIO((tmp_path / "run" / "samples" / "task_00.png").read_bytes())).width > 256


# ---------------------------------------------------------------- classes of different sizes


def positions(*counts: int) -> list[np.ndarray]:
    bounds = np.cumsum([0, *counts])
    return [np.arange(low, high) for low, high in itertools.pairwise(bounds)]


def drawn(counts: Sequence[int], balanced: bool = True, seed: int = 0) -> np.ndarray:
    return Passes(positions(*counts), balanced).draw(np.random.default_rng(seed))


def test_classes_of_equal_size_keep_their_order_to_the_bit() -> None:
    plain = np.random.default_rng(3).permutation(np.arange(30))
    assert np.array_equal(drawn([10, 10, 10], seed=3), plain)
    unequal = np.random.default_rng(3).permutation(np.arange(30))
    assert np.array_equal(drawn([5, 25], balanced=False, seed=3), unequal)


def test_a_balanced_pass_has_as_many_images_of_every_class() -> None:
    counts = [3, 20, 7]
    order = drawn(counts)
    assert len(order) == len(Passes(positions(*counts), True)) == images_of_one_pass(counts, True) == 60
    often = np.bincount(order, minlength=30)
    per_class = [often[of] for of in positions(*counts)]
    assert [each.sum() for each in per_class] == [20, 20, 20]
    assert all(each.max() - each.min() <= 1 for each in per_class)
    assert not np.array_equal(order, drawn(counts, seed=1)) and np.array_equal(order, drawn(counts))
    halves = [np.isin(order[:30], of).sum() for of in positions(*counts)]
    assert min(halves) >= 5  # mixed, not class after class


def test_uneven_and_small_classes_are_named_in_a_line_each() -> None:
    names = ["ant", "bee", "cat"]
    assert remarks({0: 40, 1: 40}, names, True) == []
    assert remarks({0: 40, 1: 60}, names, False) == []
    uneven, few = remarks({0: 300, 1: 12, 2: 4}, names, True)
    assert "from 4 (cat) to 300 (ant)" in uneven and "data.balance=false" in uneven
    assert "fewer than 10 training images: cat (4);" in few
    assert "bee (3) and 1 more;" in remarks({1: 3, 2: 4}, names, True)[-1]


@pytest.mark.parametrize(("balance", "small"), [("true", 12), ("false", 5)])
def test_a_run_draws_a_small_class_as_often(
    balance: str, small: int, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in range(6, 15):
        save(root / "dog" / f"{seed}.png", shaded((40, 50), seed))
    cfg = composed(
        tmp_path, root, "scenario.classes_per_task=2", "steps_per_epoch=null", "batch_size=6",
        f"data.balance={balance}", "strategy=finetune",
    )  # fmt: skip
    with caplog.at_level(logging.INFO, "mergan"):
        run = build_experiment(cfg, tmp_path / "run")
    assert any("from 5 (cat) to 12 (dog)" in line for line in caplog.messages) == (balance == "true")
    run.data.trainer = run.trainer
    loader = run.data.train_dataloader()
    assert len(loader) == run.data.steps_per_epoch_of(run.scenario.tasks[0]) == -(-(12 + small) // 6)
    labels = np.concatenate([labels.numpy() for _, labels in loader])
    assert np.bincount(labels)[0] >= small
    assert np.bincount(labels[: 12 + small]).tolist() == [small, 12]


def test_the_decoder_that_looks_does_not_depend_on_the_channels_of_the_run(root: Path) -> None:
    save(root / "cat" / "red.png", Image.new("RGB", (40, 40), RED))
    paths = [[str(path) for path in sorted((root / "cat").iterdir())]]
    assert looking.channels(paths, Decoder(1, (255, 255, 255)), root).value == 3
