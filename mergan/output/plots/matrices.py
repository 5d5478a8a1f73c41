"""Matrices (task x class, or task x task) as heat maps: a colour bar, and numbers where a cell has room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from mergan.output import lettering
from mergan.output.plots.style import FAINT, INK, MARGIN, PAPER, SMALL, TEXT, width, write

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

CELL = (34, 20)  # width and height in pixels of a cell that holds a number
NUMBERED = 24  # tasks or classes, with more of which the cells hold no numbers
LONGEST = 1000  # width of a panel's cells in pixels
TICK = 14  # pixels that a name needs beside the next
ACROSS = 1600  # width of the picture in pixels, unless a single panel needs more
BAR = 12  # width of the colour bar
NAME = 28  # characters of a class's name
EMPTY = (240, 240, 240)  # a class that had not been seen


def heat_maps(
    matrices: Mapping[str, Sequence[Mapping[int, float]]],
    names: Sequence[str],
    higher_is_better: Mapping[str, bool],
    tasks: Mapping[str, Mapping[int, str]] = MappingProxyType({}),
) -> np.ndarray:
    """Matrices side by side; bright is good.

    Args:
        matrices: by name of the metric, a row per task, values by column; those without values are left out.
        names: names of the classes.
        higher_is_better: by name of the metric.
        tasks: the names of the columns of those of the matrices that have a column per task.

    Returns:
        A picture uint8 (H, W, 3).
    """
    from PIL import Image, ImageDraw

    panels = [
        _Panel(
            name,
            rows,
            tasks.get(name, dict(enumerate(names))),
            "task" if name in tasks else "class",
            higher_is_better[name],
        )
        for name, rows in matrices.items()
        if any(rows)
    ]
    broad, high = max(panel.width for panel in panels), max(panel.height for panel in panels)
    columns = min(4, len(panels), max(1, ACROSS // broad))
    lines = -(-len(panels) // columns)
    picture = Image.new("RGB", (columns * broad + MARGIN, lines * high + MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    for index, panel in enumerate(panels):
        panel.draw(picture, draw, index % columns * broad + MARGIN, index // columns * high + MARGIN)
    return np.asarray(picture)


def number(value: float, largest: float) -> str:
    """A value as a cell shows it: as many decimals as suit the largest value of its matrix."""
    if largest >= 1e4:
        return f"{value:.0e}".replace("e+0", "e")
    decimals = next(count for bound, count in ((100, 0), (10, 1), (0.1, 2), (0, 3)) if largest >= bound)
    return f"{value:.{decimals}f}"


@dataclass(frozen=True)
class _Panel:
    """One matrix."""

    metric: str
    rows: Sequence[Mapping[int, float]]
    names: Mapping[int, str]
    column: str
    higher_is_better: bool

    @cached_property
    def labels(self) -> list[int]:
        return sorted(set().union(*self.rows))

    @cached_property
    def values(self) -> np.ndarray:
        """(tasks, columns); NaN where there is no value."""
        return np.array([[row.get(label, np.nan) for label in self.labels] for row in self.rows])

    @cached_property
    def cell(self) -> tuple[int, int]:
        tasks, classes = self.values.shape
        return min(CELL[0], max(4, LONGEST // classes)), min(CELL[1], max(4, LONGEST // tasks))

    @cached_property
    def numbered(self) -> bool:
        return max(self.values.shape) <= NUMBERED

    @cached_property
    def range(self) -> tuple[float, float]:
        """What the ends of the colour bar stand for; most matrices hold shares."""
        low, high = min(0.0, float(np.nanmin(self.values))), float(np.nanmax(self.values))
        return low, 1.0 if 0.05 < high < 1 else high

    def number(self, value: float) -> str:
        return number(value, max(map(abs, self.range)))

    @cached_property
    def ticks(self) -> dict[int, str]:
        """The names below the columns, by position; not all of them where columns are narrow."""
        every = -(-TICK // self.cell[0])
        return {
            place: lettering.label(self.names[label], label, NAME)
            for place, label in enumerate(self.labels)
            if place % every == 0
        }

    @cached_property
    def upright(self) -> bool:
        return any(width(name, SMALL) > self.cell[0] - 4 for name in self.ticks.values())

    @property
    def left(self) -> int:
        """Room for the numbers of the tasks."""
        return 2 * MARGIN + SMALL + width(str(len(self.rows)), SMALL)

    @property
    def above(self) -> int:
        return TEXT + SMALL + 2 * MARGIN

    @property
    def below(self) -> int:
        named = max(width(name, SMALL) for name in self.ticks.values()) if self.upright else SMALL
        return named + SMALL + 3 * MARGIN

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the cells together."""
        tasks, classes = self.values.shape
        return classes * self.cell[0], tasks * self.cell[1]

    @property
    def width(self) -> int:
        ends = max(width(self.number(end), SMALL) for end in self.range)
        cells = self.left + self.size[0] + MARGIN + BAR + 4 + ends
        return max(cells, width(self.metric, TEXT), width(self._direction, SMALL)) + 2 * MARGIN

    @property
    def height(self) -> int:
        return self.above + max(self.size[1], 3 * SMALL) + self.below

    @property
    def _direction(self) -> str:
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    def colours(self, values: np.ndarray) -> np.ndarray:
        """Values (...) -> uint8 (..., 3), in viridis, which is read with any colour vision and in grey."""
        from matplotlib import colormaps

        low, high = self.range
        share = (values - low) / (high - low) if high > low else np.ones_like(values)
        found = colormaps["viridis" if self.higher_is_better else "viridis_r"](share, bytes=True)[..., :3]
        return np.where(np.isnan(values)[..., None], np.array(EMPTY, np.uint8), found)

    def draw(self, picture: Image.Image, draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
        """Draw the panel with this corner."""
        from PIL import Image

        write(draw, (left, top), self.metric, TEXT)
        write(draw, (left, top + TEXT + 4), self._direction, SMALL, FAINT)
        x, y = left + self.left, top + self.above
        cells = np.repeat(np.repeat(self.colours(self.values), self.cell[1], 0), self.cell[0], 1)
        picture.paste(Image.fromarray(np.ascontiguousarray(cells)), (x, y))
        if self.numbered:
            self._numbers(draw, x, y)
        self._tasks(picture, draw, left, x, y)
        self._classes(picture, draw, x, y + self.size[1])
        self._bar(picture, draw, x + self.size[0] + MARGIN, y)

    def _numbers(self, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        across, down = self.cell
        bright = self.colours(self.values) @ (0.299, 0.587, 0.114) > 120  # ITU-R BT.601
        for (task, place), value in np.ndenumerate(self.values):
            if not np.isnan(value):
                middle = (x + (place + 0.5) * across, y + (task + 0.5) * down)
                write(draw, middle, self.number(value), SMALL, INK if bright[task, place] else PAPER, "mm")

    def _tasks(self, picture: Image.Image, draw: ImageDraw.ImageDraw, left: int, x: int, y: int) -> None:
        down = self.cell[1]
        for task in range(0, len(self.rows), -(-TICK // down)):
            write(draw, (x - 4, y + (task + 0.5) * down), str(task + 1), SMALL, INK, "rm")
        _upright(picture, "after task", left, y + self.size[1] // 2, FAINT)

    def _classes(self, picture: Image.Image, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        across = self.cell[0]
        for place, name in self.ticks.items():
            middle = x + int((place + 0.5) * across)
            if self.upright:
                _upright(picture, name, middle - SMALL // 2 - 1, y + 4, INK, from_top=True)
            else:
                write(draw, (middle, y + 4), name, SMALL, INK, "mt")
        last = y + self.below - SMALL - 2 * MARGIN + 2
        write(draw, (x + self.size[0] // 2, last), self.column, SMALL, FAINT, "mt")

    def _bar(self, picture: Image.Image, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        from PIL import Image

        low, high = self.range
        height = max(self.size[1], 3 * SMALL)
        column = self.colours(np.linspace(high, low, height))[:, None].repeat(BAR, axis=1)
        picture.paste(Image.fromarray(np.ascontiguousarray(column)), (x, y))
        write(draw, (x + BAR + 4, y), self.number(high), SMALL)
        write(draw, (x + BAR + 4, y + height), self.number(low), SMALL, INK, "ls")


def _upright(
    picture: Image.Image, text: str, x: int, y: int, colour: tuple[int, ...], from_top: bool = False
) -> None:
    """Draw a text that reads from below; `y` is its middle, or its upper end."""
    from PIL import Image, ImageDraw

    high = SMALL + 4
    line = Image.new("RGB", (width(text, SMALL), high), PAPER)
    write(ImageDraw.Draw(line), (0, 2), text, SMALL, colour)
    turned = line.rotate(90, expand=True)
    picture.paste(turned, (x, y if from_top else y - turned.height // 2))
