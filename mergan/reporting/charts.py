"""Line charts and heat maps as SVG, in the colours of mergan.output.plots."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mergan.output import lettering
from mergan.output.plots import style
from mergan.output.plots.figures import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.2, 3.1  # inches of the axes of a chart, without its legend
LEGEND_ROW = 0.19  # inches
MOST_LINES = 14  # in one chart
NUMBERED = 24  # columns of a heat map, with more of which the cells hold no numbers
FAR = 20.0  # quotient of the largest and the smallest value, from which on an axis is logarithmic
NAME = 48  # characters of a name in a legend
SALT = "mergan"  # of the ids in an SVG, which are the same each time


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: its setting.
        number: of the setting, which decides colour and marker.
        x, y: the points.
        spread: standard deviation at each point, drawn as a band; None where there is a single seed.
        reference: whether it is one value, drawn across the whole chart.
    """

    name: str
    number: int
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float | None]
    reference: bool = False


def line_chart(lines: Sequence[Line], x: str, y: str, share: bool = False, markers: bool = True) -> bytes:
    """A line per setting, with a band of one standard deviation.

    Args:
        lines: at most `MOST_LINES`, each with a point at least.
        x, y: what the axes show, with the unit; whole numbers on the x axis.
        share: whether the values are shares, drawn from 0 to 1.
        markers: whether the points are marked.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    own = figure(WIDTH, HEIGHT + LEGEND_ROW * _legend_rows(lines))
    axes = own.add_subplot()
    for line in lines:
        _draw(axes, line, markers)
    axes.set_xlabel(x)
    axes.set_ylabel("")
    _named(axes.yaxis.label, y, 9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if share:
        axes.set_ylim(-0.03, 1.03)
    elif markers and _far_apart(lines):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    _legend(own, lines, markers)
    return svg(own)


def _far_apart(lines: Sequence[Line]) -> bool:
    """Whether only a logarithmic axis shows the smaller values apart: they and their bands are above 0."""
    points = [point for line in lines for point in zip(line.y, line.spread, strict=True)]
    values = [value for value, _ in points]
    return min(value - (spread or 0) for value, spread in points) > 0 and max(values) > FAR * min(values)


def _draw(axes: Axes, line: Line, markers: bool) -> None:
    look = style.line(line.number)
    if not markers:
        look["marker"] = ""
    if line.reference:
        look |= {"marker": "", "linestyle": (0, (6, 2))}
        axes.axhline(line.y[0], linewidth=1.5, **look)
        return
    axes.plot(line.x, line.y, markersize=4.5, linewidth=1.5 if markers else 1.1, **look)
    known = [place for place, spread in enumerate(line.spread) if spread is not None]
    if known:
        at, middle = np.array(line.x)[known], np.array(line.y)[known]
        around = np.array([line.spread[place] for place in known], float)
        axes.fill_between(at, middle - around, middle + around, color=look["color"], alpha=0.18, linewidth=0)


def scatter_chart(points: Sequence[tuple[str, int, float, float]], x: str, y: str) -> bytes:
    """A point per run: name and number of its setting, and where it lies."""
    lines = [Line(name, number, [], [], []) for name, number in dict.fromkeys(each[:2] for each in points)]
    own = figure(WIDTH, HEIGHT + LEGEND_ROW * _legend_rows(lines))
    axes = own.add_subplot()
    for line in lines:
        at = [each[2:] for each in points if each[1] == line.number]
        look = style.line(line.number) | {"linestyle": ""}
        axes.plot(*zip(*at, strict=True), markersize=7, alpha=0.85, **look)
    axes.set_xlabel(x)
    _named(axes.yaxis.label, y, 9)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    _legend(own, lines)
    return svg(own)


def heat_chart(rows: Sequence[str], columns: Sequence[str], values: np.ndarray, bar: str) -> bytes:
    """A heat map of a diverging kind, white at 0, with numbers and a colour bar.

    Args:
        rows, columns: their names.
        values: (rows, columns), NaN where there is no value.
        bar: what the colours mean.
    """
    height = 1.2 + 0.28 * len(rows) + 0.06 * max(map(len, columns))
    own = figure(max(WIDTH, 1.8 + min(0.42 * len(columns), 12)), height)
    axes = own.add_subplot()
    most = float(np.nanmax(np.abs(values))) or 1.0
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap="PuOr_r", vmin=-most, vmax=most)
    axes.set_facecolor("#eeeeee")
    axes.invert_yaxis()
    every = max(1, -(-len(columns) // 50))
    places = range(0, len(columns), every)
    _ticks(axes.xaxis, [place + 0.5 for place in places], [columns[place] for place in places])
    _ticks(axes.yaxis, [place + 0.5 for place in range(len(rows))], rows)
    if max(map(len, columns)) > 3:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel("class")
    colour_bar = own.colorbar(mesh, ax=axes, pad=0.02)
    _named(colour_bar.ax.yaxis.label, bar, 8)
    colour_bar.ax.tick_params(labelsize=8)
    if len(columns) <= NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = "white" if abs(value) > 0.7 * most else "black"
                text = f"{value:z.2f}" if most < 10 else f"{value:z.0f}"
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=7, color=ink)
    return svg(own)


def _ticks(axis: Any, places: Sequence[float], names: Sequence[str]) -> None:
    axis.set_ticks(places, [lettering.label(name, number, NAME) for number, name in enumerate(names)])
    for text in axis.get_ticklabels():
        text.update(style.plain(8))


def _named(text: Any, name: str, size: float, number: int = 0) -> None:
    """Show a name literally."""
    text.update({**style.plain(size), "text": lettering.label(name, number, NAME)})


def _legend_rows(lines: Sequence[Line]) -> int:
    return -(-len(lines) // _legend_columns(lines)) if len(lines) > 1 else 0


def _legend_columns(lines: Sequence[Line]) -> int:
    longest = max(len(lettering.label(line.name, 0, NAME)) for line in lines)
    return max(1, min(4, int(WIDTH / (0.55 + 0.075 * longest))))


def _legend(own: Figure, lines: Sequence[Line], markers: bool = True) -> None:
    """The names of the lines below the axes; a single line needs none."""
    from matplotlib.lines import Line2D

    if len(lines) < 2:
        return
    looks = [style.line(line.number) for line in lines]
    for line, look in zip(lines, looks, strict=True):
        if line.reference:
            look |= {"marker": "", "linestyle": (0, (6, 2))}
        elif not markers:
            look["marker"] = ""
    handles = [Line2D([], [], markersize=4.5, **look) for look in looks]
    legend = own.legend(
        handles, [" "] * len(handles), loc="outside lower left", ncols=_legend_columns(lines), fontsize=8,
        frameon=False, columnspacing=1.2,
    )  # fmt: skip
    for line, text in zip(lines, legend.get_texts(), strict=True):
        _named(text, line.name, 8, line.number)


def svg(own: Figure) -> bytes:
    """A figure as SVG, on white; its letters are paths, so that it looks the same everywhere."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": SALT}):
        FigureCanvasSVG(own).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def spread_of(values: Mapping[float, Sequence[float]]) -> tuple[list[float], list[float], list[float | None]]:
    """x, mean and standard deviation (n - 1) of the values at each x."""
    x = sorted(values)
    means = [float(np.mean(values[at])) for at in x]
    deviations = [float(np.std(values[at], ddof=1)) if len(values[at]) > 1 else None for at in x]
    return x, means, deviations
