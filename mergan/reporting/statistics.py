"""Means over seeds, paired differences between settings, and what was measured after every task."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mergan.evaluation import continual
from mergan.reporting.groups import Setting
from mergan.reporting.runs import Run

RESAMPLES = 9999  # of the bootstrap
CONFIDENCE = 0.95
MOST_PAIRS = 15  # with more, every setting is compared with one alone: the first of those with the most seeds
LOWER = ("fid", "kid")  # metrics for which lower is better, in whichever feature space


@dataclass(frozen=True)
class Moments:
    """Mean and spread over seeds.

    Attributes:
        mean: the mean.
        deviation: standard deviation with n - 1; None for a single value.
        count: number of values.
    """

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """A figure of one setting minus that of another, over the seeds that both have.

    Attributes:
        mean: the mean difference.
        low, high: bootstrap interval of the mean; None with a single seed.
        count: number of common seeds.
    """

    mean: float
    low: float | None
    high: float | None
    count: int


def higher_is_better(metric: str) -> bool:
    """Whether higher is better for a metric of this name."""
    return metric.split("_")[0] not in LOWER


def moments(values: Sequence[float]) -> Moments | None:
    """Mean and standard deviation of some values; None without any."""
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Moments(mean, None, 1)
    return Moments(
        mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)), len(values)
    )


def figure(setting: Setting, key: str) -> Moments | None:
    """A final figure over the seeds of a setting; None if no run has it."""
    return moments(
        [float(value) for run in setting.runs if isinstance(value := run.figures.get(key), (int, float))]
    )


def pairs(settings: Sequence[Setting]) -> list[tuple[Setting, Setting]]:
    """The pairs of settings that are compared; they have a seed in common."""
    found = list(combinations(settings, 2))
    if len(found) > MOST_PAIRS:
        most = max(settings, key=lambda setting: len(setting.runs))
        found = [(most, other) for other in settings if other is not most]
    return [(one, other) for one, other in found if one.by_seed().keys() & other.by_seed().keys()]


def difference(one: Setting, other: Setting, key: str) -> Difference | None:
    """A figure of `other` minus that of `one`, over common seeds; None if there is no common seed with both.

    The interval is the percentile bootstrap (Efron 1979) of the mean of the paired differences. It does not
    change from call to call.
    """
    first, second = one.by_seed(), other.by_seed()
    values = [
        float(b) - float(a)
        for seed in first
        if seed in second
        and isinstance(a := first[seed].figures.get(key), (int, float))
        and isinstance(b := second[seed].figures.get(key), (int, float))
    ]
    if not values:
        return None
    low, high = _interval(values) if len(values) > 1 else (None, None)
    return Difference(math.fsum(values) / len(values), low, high, len(values))


def _interval(values: Sequence[float]) -> tuple[float, float]:
    if len(set(values)) == 1:
        return values[0], values[0]
    from scipy.stats import bootstrap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some resamples are all alike
        found = bootstrap(
            (np.array(values),), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE,
            method="percentile", rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def is_per_task(settings: Sequence[Setting], metric: str) -> bool:
    """Whether the matrices of a metric have a column per task, and not per class."""
    found = [run.matrices[metric] for setting in settings for run in setting.runs if metric in run.matrices]
    return any(matrix.per_task for matrix in found)


def averages(run: Run, metric: str) -> dict[int, float]:
    """Mean of a metric over the classes seen, by task, counted from 1; empty if it was not measured."""
    rows = enumerate(_rows(run, metric), start=1)
    return {task: continual.average(row) for task, row in rows if row}


def forgotten(run: Run, metric: str) -> dict[str, float]:
    """How much worse each class is at the end than at its best (mergan.evaluation.continual), by class."""
    rows = _rows(run, metric)
    names = run.matrices[metric].classes if rows else []
    values = continual.losses(rows, higher_is_better(metric)) if rows else {}
    return {names[label]: value for label, value in values.items()}


def forgotten_over_seeds(setting: Setting, metric: str) -> dict[str, Moments]:
    """`forgotten` over the seeds of a setting, by class."""
    values: dict[str, list[float]] = {}
    for run in setting.runs:
        for name, value in forgotten(run, metric).items():
            values.setdefault(name, []).append(value)
    return {name: found for name, each in values.items() if (found := moments(each)) is not None}


def mean_matrix(setting: Setting, metric: str) -> tuple[list[str], list[dict[int, float]]] | None:
    """A matrix (task x class) over the seeds of a setting: names of the classes, and means by class; None if
    no run has it. Runs with other classes or another number of tasks than the first are left out.
    """
    found = [run.matrices[metric] for run in setting.runs if metric in run.matrices]
    if not found:
        return None
    classes, tasks = found[0].classes, len(found[0].rows)
    alike = [each.rows for each in found if each.classes == classes and len(each.rows) == tasks]
    rows = []
    for task in range(tasks):
        cells = {label: [rows[task][label] for rows in alike] for label in range(len(classes))}
        known = {label: [value for value in each if value is not None] for label, each in cells.items()}
        rows.append({label: math.fsum(each) / len(each) for label, each in known.items() if each})
    return classes, rows


def _rows(run: Run, metric: str) -> list[dict[int, float]]:
    """The rows of a matrix, values by the number of the column."""
    matrix = run.matrices.get(metric)
    rows: Sequence[Sequence[float | None]] = [] if matrix is None else matrix.rows
    return [{label: value for label, value in enumerate(row) if value is not None} for row in rows]


def metrics_of(settings: Sequence[Setting], first: Mapping[str, str]) -> list[str]:
    """The metrics that any run has a matrix of: those of `first` in its order, then the others."""
    found = {name for setting in settings for run in setting.runs for name in run.matrices}
    return [*(name for name in first if name in found), *sorted(found - first.keys())]
