"""What a run logged: losses over the steps, and figures over the pooled classes after every task."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mergan.output.reading import read_text
from mergan.system.errors import ConfigError
from mergan.system.text import shown

NAME = "metrics.csv"
FEWEST = 5  # points of a curve
MOST_POINTS = 400  # of a curve; more are thinned out evenly
AVERAGE, POOLED = "/average", "/pooled"  # ends of columns with a value per task
NO_CURVES = (AVERAGE, POOLED, "/class_", "/task_", "final/")  # parts of columns with a value per task


@dataclass(frozen=True)
class Log:
    """The columns of `metrics.csv` that the report draws.

    Attributes:
        curves: by name, e.g. `d/loss`: the values by step.
        pooled: by metric, the values over all classes seen, by task, counted from 1. A task after which
            there were too few images is absent.
        remark: why there is none of both; empty if there are.
    """

    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    pooled: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    remark: str = ""


def read_log(folder: Path) -> Log:
    """The log of a run; empty if the run has none, or if it cannot be read."""
    try:
        text = read_text(folder / NAME)
        columns = _columns(list(csv.reader(io.StringIO(text, newline=""))))
    except FileNotFoundError:
        return Log(remark=f"{shown(str(folder))}: {NAME} is missing")
    except (ConfigError, csv.Error) as error:
        return Log(remark=shown(str(error)))
    curves = {
        name: _thinned(points)
        for name, points in columns.items()
        if len(points) >= FEWEST and not any(part in name for part in NO_CURVES)
    }
    of_tasks = {name: points for name, points in columns.items() if name.endswith((AVERAGE, POOLED))}
    ends = sorted({step for points in of_tasks.values() for step in points})
    tasks = {step: task for task, step in enumerate(ends, start=1)}
    pooled = {
        name.removesuffix(POOLED): {tasks[step]: value for step, value in points.items()}
        for name, points in of_tasks.items()
        if name.endswith(POOLED) and points
    }
    return Log(curves, pooled)


def _columns(rows: Sequence[Sequence[str]]) -> dict[str, dict[int, float]]:
    """Values by step, by column; cells that are no finite number are left out."""
    heading = rows[0] if rows else []
    if "step" not in heading:
        return {}
    step = heading.index("step")
    found: dict[str, dict[int, float]] = {name: {} for name in heading if name not in ("step", "epoch")}
    for row in rows[1:]:
        if len(row) != len(heading) or not row[step].isdecimal():
            continue  # a line that a killed run has not finished
        at = int(row[step][:12])
        for name, cell in zip(heading, row, strict=True):
            if cell and name in found and math.isfinite(value := _number(cell)):
                found[name][at] = value
    return found


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _thinned(points: Mapping[int, float]) -> dict[int, float]:
    """At most `MOST_POINTS` of the points, each the mean of its neighbourhood, against noise."""
    every = -(-len(points) // MOST_POINTS)
    steps, values = list(points), list(points.values())
    parts = range(0, len(steps), every)
    return {
        steps[min(start + every, len(steps)) - 1]: math.fsum(values[start : start + every])
        / len(values[start : start + every])
        for start in parts
    }


def ordered(names: Iterable[str]) -> list[str]:
    """Curves in the order in which they are shown: the whole losses first, gradients and rates last."""

    def rank(name: str) -> tuple[int, str]:
        last = name.rpartition("/")[2]
        return (0 if last == "loss" else 2 if last == "gradient" or name.startswith("lr") else 1), name

    return sorted(names, key=rank)
