"""Curves over the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mergan.output import lettering
from mergan.output.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 80  # characters of a name in the legend
MOST_LINES = 8  # of a legend inside the axes; a longer one stands beside them


def figure(width: float, height: float) -> Figure:
    """An empty figure, its size in inches, made without pyplot's global state and window system."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def drawn(figure: Figure) -> np.ndarray:
    """The picture of a figure: uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def accuracy_curves(curves: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Average accuracy over the classes seen after each task, one line per run.

    Args:
        curves: by name of the run; a value per task.
    """
    from matplotlib.ticker import MaxNLocator

    beside = len(curves) > MOST_LINES
    own = figure(10 if beside else 7, max(4, 0.2 * len(curves)))
    axes = own.add_subplot()
    lines = [
        axes.plot(range(1, len(values) + 1), values, markersize=4, **style.line(number))[0]
        for number, values in enumerate(curves.values())
    ]
    axes.set_xlabel("after task")
    axes.set_ylabel("average accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)} if beside else {}
    # A line with a name that begins with "_" would be left out of the legend.
    legend = axes.legend(lines, [" "] * len(lines), fontsize=7, **place)
    for number, (text, name) in enumerate(zip(legend.get_texts(), curves, strict=True)):
        text.update({**style.plain(7), "text": lettering.label(name, number, LONGEST)})
    return drawn(own)
