"""Names of classes and runs in pictures, and the grid of real images."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny
import warm
from PIL import Image
from test_folders import pictures

from mergan.callbacks.real import real_grid
from mergan.config.instantiate import part
from mergan.data.image_set import ImageSet
from mergan.output import lettering, plots
from mergan.output.plots import grids
from mergan.system.errors import ConfigError

ODD = [
    "$10_$20",
    r"\frac{1}{0}",
    "日本",
    "🐈",
    "<script>",
    "a|b",
    "_hidden",
    "=1+1",
    "x" * 250,
    "zero\u200bwidth",
]


@pytest.mark.parametrize(
    "name", ["cat", "$10_$20", r"\frac", "Größe", "кот", "قطة", "λ", "<b>", "T-shirt/top"]
)
def test_a_name_of_the_font_stays(name: str) -> None:
    assert lettering.label(name, 7) == name


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("日本", r"7 \u65e5\u672c"), ("猫cat", r"7 \u732bcat"), ("🐈", r"7 \U0001f408"),
     ("a\u202eb", r"7 a\u202eb"),
     ("x" * 300, "7 xxxxxxxxxx…xxxxxxxxxxx")],
)  # fmt: skip
def test_other_names_are_their_number_and_an_escape(name: str, drawn: str) -> None:
    assert lettering.label(name, 7) == drawn


@pytest.mark.parametrize("names", [ODD, [f"a long name of class {label}" for label in range(120)]])
def test_heat_maps_draw_any_names_without_a_warning(names: list[str]) -> None:
    rows = [dict.fromkeys(range(len(names)), 0.5)] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = plots.heat_maps({"accuracy": rows, "kid": rows}, names, {"accuracy": True, "kid": False})
    assert picture.shape[2] == 3
    short = plots.heat_maps(
        {"accuracy": rows}, [str(label % 10) for label in range(len(names))], {"accuracy": True}
    )
    assert picture.shape[0] > short.shape[0] + 40  # room for upright names
    assert picture.shape[1] < 1700


def test_names_of_runs_are_drawn_without_a_warning(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.side_by_side(dict.fromkeys(ODD, tmp_path / "a.png"))


def images(classes: int, channels: int, size: int, per_class: int = 3) -> ImageSet:
    """Each class of one shade, its images next to those of other classes."""
    labels = np.arange(classes * per_class) % classes
    pixels = np.full((len(labels), channels, size, size), 0, dtype=np.uint8)
    return ImageSet(pixels + (labels * 2).astype(np.uint8)[:, None, None, None], labels)


def test_the_grid_shows_the_images_of_each_class_enlarged_and_in_order() -> None:
    picture = real_grid(images(3, 1, 16), ["a", "b", "c"], columns=5)
    step = picture.shape[0] // 3
    shades = [(picture == 2 * label).all(axis=2).sum() for label in range(3)]
    assert shades == [3 * 64 * 64] * 3  # every pixel sixteen times as large, nothing blurred
    rows = [np.flatnonzero((picture == 2 * label).all(axis=2).any(axis=1)).mean() for label in range(3)]
    assert np.allclose(np.diff(rows), step, atol=25)  # a line above them
    assert np.array_equal(picture, real_grid(images(3, 1, 16), ["a", "b", "c"], columns=5))
    assert not np.array_equal(picture, real_grid(images(3, 1, 16), ["a", "b", "d"], columns=5))


def test_the_grid_keeps_colours_and_reduces_large_images() -> None:
    pixels = np.zeros((2, 3, 200, 200), dtype=np.uint8)
    pixels[:, 1] = 180
    picture = real_grid(ImageSet(pixels, np.array([0, 1])), ["green", "日本"], columns=2)
    assert (picture == (0, 180, 0)).all(axis=2).sum() == 2 * grids.LARGEST**2


def test_the_grid_is_capped_and_odd_names_fit() -> None:
    many = real_grid(images(110, 1, 32, per_class=1), [f"class {label}" for label in range(110)], columns=2)
    pixels = [(many == 2 * label).all(axis=2).sum() for label in (99, 105)]
    assert pixels[0] >= 64 * 64 > pixels[1]  # letters have all shades
    assert real_grid(images(10, 3, 32), ODD, columns=10).shape[1] < 950
    assert real_grid(images(1, 1, 8), ["one"], columns=1).shape[2] == 3


def test_no_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.real\.columns=0"):
        part("callbacks.real", columns=0)


def test_a_run_with_odd_names_says_and_draws_them_and_shows_its_data_first(tmp_path: Path) -> None:
    names = [name for name in ODD if "\u200b" not in name]
    for shade, name in enumerate(names):
        pictures(tmp_path / "images" / name, 3, shade=20 * shade)
    (tmp_path / "images" / "日本" / "x.heic").write_text("")
    own = [part for part in tiny.SETTINGS if not part.startswith("data")]
    own += ["data=image_folder", "data.image_size=16", "data.root=images", "cache_dir=cache", "epochs=1"]
    own += ["scenario.classes_per_task=9", "hydra.run.dir=run", "evaluation.metrics.kid=null"]
    script = str(tiny.ROOT / "train.py")
    result = warm.run([script, *own], tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "1 .heic" in result.stdout and r"$10_$20" in result.stdout and "日本" in result.stdout
    with (tmp_path / "run" / "accuracy_matrix.csv").open(encoding="utf-8") as file:
        assert "日本" in file.readline()
    shown = tmp_path / "run" / "samples" / "real.png"
    first = shown.read_bytes()
    assert shown.stat().st_mtime_ns < (tmp_path / "run" / "metrics.csv").stat().st_mtime_ns
    again = warm.run([script, *own, "hydra.run.dir=other", "~callbacks.samples"], tmp_path)
    assert again.returncode == 0 and "1 .heic" in again.stdout  # said although the cache is there
    assert (tmp_path / "other" / "samples" / "real.png").read_bytes() == first
