"""A table of trainings with a picture: what is kept from task to task, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mergan.output.plots import style
from mergan.output.plots.figures import drawn, figure
from mergan.output.plots.saving import save_png
from mergan.reporting import statistics
from mergan.reporting.runs import Run
from mergan.reproducing import figures
from mergan.reproducing.trained import REAL, TrainedTable

PICTURE = "curve.png"
KEPT = "bytes_kept"
WIDTH, HEIGHT = 4.6, 3.6  # inches of one chart


class CurveTable(TrainedTable):
    """A table of trainings, and charts of its figures over the bytes that are kept between tasks.

    Args:
        lines: rows that are joined by a line, by its name; every other row is a point.
        charts: the figures that are drawn, a chart each.
        **table: the arguments of TrainedTable.
    """

    def __init__(self, lines: Mapping[str, Sequence[str]], charts: Sequence[str], **table: Any) -> None:
        super().__init__(**table)
        self.lines = {name: list(rows) for name, rows in lines.items()}
        self.charts = list(charts)

    def write(self, folder: Path) -> str:
        """Write what TrainedTable writes, and curve.png."""
        text = super().write(folder)
        self.draw(folder)
        return text

    def draw(self, folder: Path) -> None:
        """Write curve.png of the runs in a folder; nothing as long as no row has run."""
        runs = {row: found for row, found in self._runs(folder).items() if row != REAL}
        joined = {row for rows in self.lines.values() for row in rows}
        curves = self.lines | {row: [row] for row in runs if row not in joined}
        if not runs:
            return
        from matplotlib.ticker import LogLocator, NullFormatter

        own = figure(WIDTH * len(self.charts), HEIGHT + 0.2 * len(curves) / 3)
        axes = own.subplots(1, len(self.charts), squeeze=False)[0]
        for chart, key in zip(axes, self.charts, strict=True):
            for number, (name, rows) in enumerate(curves.items()):
                points = sorted(point for row in rows if row in runs and (point := _point(runs[row], key)))
                if points:
                    chart.plot(*zip(*points, strict=True), label=name, **style.line(number))
            chart.set_xscale("log")
            chart.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            chart.xaxis.set_major_formatter("{x:g}")
            chart.xaxis.set_minor_formatter(NullFormatter())
            chart.set_xlabel("kept from task to task, MB")
            chart.set_title(figures.SHOWN[key].heading, fontsize=10)
            chart.grid(alpha=0.3, which="both")
        handles, names = axes[0].get_legend_handles_labels()
        own.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8)
        save_png(drawn(own), folder / PICTURE)


def _point(runs: Sequence[Run], key: str) -> tuple[float, float] | None:
    """Megabytes kept and the mean of a figure, as its table shows it."""
    kept, found = (statistics.moments(figures.values(name, runs)) for name in (KEPT, key))
    if kept is None or found is None or kept.mean <= 0:
        return None
    return kept.mean / 1e6, figures.SHOWN[key].factor * found.mean
