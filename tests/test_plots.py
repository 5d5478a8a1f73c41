"""Grids, matrices and curves: what a reader must find in them."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from mergan.output import plots
from mergan.output.folder import RunFolder
from mergan.output.plots import grids, matrices, style


def one_shade(shade: int, count: int, size: int = 16) -> np.ndarray:
    return np.full((count, 1, size, size), shade, np.uint8)


def place(picture: np.ndarray, shade: int) -> tuple[int, int, int]:
    """Top, left, and number of pixels of a grey shade."""
    found = np.argwhere((picture == shade).all(axis=2))
    return (*found.min(axis=0), len(found))


def test_real_images_stand_below_those_of_their_class_in_half_the_size() -> None:
    rows = [
        plots.Row("zero", one_shade(20, 3), "task 1", real=one_shade(21, 50)),
        plots.Row("one", one_shade(40, 3), "task 2"),
    ]
    picture = plots.grid(rows, "after task 2 of 2")
    (top, left, count), (below, beside, real_count) = place(picture, 20), place(picture, 21)
    assert count == 3 * 64 * 64
    assert real_count == 5 * 32 * 32  # as many as the row has room for
    assert beside == left and below == top + 64 + grids.GAP
    next_row = np.argwhere((picture[below + 32 :, left:] == 40).all(axis=2))
    assert len(next_row) == 3 * 64 * 64 and next_row[0][1] == 0


def test_a_grid_says_which_task_which_classes_and_what_is_left_out() -> None:
    rows = [plots.Row("zero", one_shade(20, 3))]
    same = plots.grid(rows, "after task 1 of 2")
    for other in (
        plots.grid(rows, "after task 2 of 2"),
        plots.grid([plots.Row("nine", one_shade(20, 3))], "after task 1 of 2"),
        plots.grid([plots.Row("zero", one_shade(20, 3), "task 1")], "after task 1 of 2"),
        plots.grid(rows, "after task 1 of 2", total=7),
    ):
        assert other.shape != same.shape or not np.array_equal(other, same)
    assert np.array_equal(same, plots.grid(rows, "after task 1 of 2", total=1))


def test_a_run_draws_real_images_below_its_own(build: Callable[..., tiny.Run]) -> None:
    run = build("strategy=finetune", "epochs=1").fit()
    with Image.open(RunFolder(run.folder).grid(1)) as image:
        picture = np.asarray(image)
    pool = run.data.pool
    real = pool.train_set.take(np.flatnonzero(pool.train_set.labels == 0)[:1])[0][0]
    top, left = (edge + grids.GAP for edge in tiny.frame(picture))
    top += 64 + grids.GAP
    assert np.array_equal(picture[top : top + 32, left : left + 32, 0], real[0].repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("value", "largest", "text"),
    [(0.5, 1.0, "0.50"), (0.0123, 0.04, "0.012"), (31.25, 90.0, "31.2"), (860.4, 861.0, "860"),
     (12345.0, 2e4, "1e4"), (0.4, 861.0, "0")],
)  # fmt: skip
def test_cells_have_the_decimals_that_suit_their_matrix(value: float, largest: float, text: str) -> None:
    assert matrices.number(value, largest) == text


def test_heat_maps_show_the_values_and_which_way_is_better() -> None:
    def drawn(value: float, higher_is_better: bool = True) -> np.ndarray:
        rows = [{0: 0.5}, {0: 0.0, 1: value}]
        return plots.heat_maps({"a": rows, "empty": [{}, {}]}, ["0", "1"], {"a": higher_is_better})

    low, high, turned = drawn(0.1), drawn(1.0), drawn(1.0, higher_is_better=False)
    assert low.shape == high.shape
    assert not np.array_equal(low, high)
    assert not np.array_equal(high[:, :90], turned[:, :90])
    wide = plots.heat_maps({name: [{0: 1.0}] for name in "abcde"}, ["0"], dict.fromkeys("abcde", True))
    one = plots.heat_maps({"a": [{0: 1.0}]}, ["0"], {"a": True})
    assert wide.shape[1] > 3 * one.shape[1] and wide.shape[0] > 1.5 * one.shape[0]  # four and one


def test_the_numbers_of_a_heat_map_end_where_cells_become_small() -> None:
    def marked(classes: int) -> bool:
        """Whether anything is written on the bright cells of the best value."""
        rows = [dict.fromkeys(range(classes), 1.0)] * 2
        picture = plots.heat_maps({"accuracy": rows}, [""] * classes, {"accuracy": True})
        cells = picture[40:80, 45:]
        return bool((cells[:, : 4 * classes] == style.INK).all(axis=2).any())

    assert marked(10) and not marked(80)


def test_heat_maps_name_every_class_while_there_is_room() -> None:
    def drawn(names: list[str]) -> np.ndarray:
        return plots.heat_maps(
            {"accuracy": [dict.fromkeys(range(len(names)), 0.5)]}, names, {"accuracy": True}
        )

    names = [f"a long name of class {label}" for label in range(100)]
    below = drawn(names)[-130:-40, :1050]
    written = (below != style.PAPER).any(axis=(0, 2))
    assert np.diff(written.astype(int)).clip(0).sum() == 50  # every second one, with space between


def test_lines_differ_in_colour_marker_or_dashes_and_in_brightness() -> None:
    lines = [tuple(style.line(number).values()) for number in range(28)]
    assert len(set(lines)) == 28
    first = [tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)) for colour in style.LINES[:3]]
    brightness = sorted(colorsys.rgb_to_yiq(*colour)[0] for colour in first)
    assert all(later - earlier > 0.03 for earlier, later in pairwise(brightness))


def test_pictures_side_by_side_keep_every_pixel(tmp_path: Path) -> None:
    for shade, name in ((10, "a.png"), (90, "b.png")):
        Image.new("L", (40, 30 + shade), shade).save(tmp_path / name)
    picture = plots.side_by_side({"first": tmp_path / "a.png", "second": tmp_path / "b.png"})
    (top, left, count), (other_top, other_left, other_count) = place(picture, 10), place(picture, 90)
    assert count >= 40 * 40 and other_count >= 40 * 120
    assert other_left >= left + 40 and top <= other_top + 20
