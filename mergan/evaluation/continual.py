"""Continual summaries of an accuracy matrix (pure Python).

Row t of a matrix holds the accuracy of every class after task t, as a dict from class to share;
classes not yet seen are absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Row = Mapping[int, float]


def average(row: Row) -> float:
    """Mean over the classes seen."""
    return sum(row.values()) / len(row)


def forgetting_per_class(rows: Sequence[Row]) -> dict[int, float]:
    """How far each class has fallen from its best earlier value, at the end (0: nothing forgotten).

    Chaudhry et al. 2018, arXiv 1801.10112, eq. 3, per class: max over t < T of a[t][c] - a[T][c].
    Classes of the last task had no time to be forgotten and are absent; a class that got better
    counts negative.
    """
    final = rows[-1]
    best: dict[int, float] = {}
    for row in rows[:-1]:
        for label, value in row.items():
            best[label] = max(value, best.get(label, value))
    return {label: best[label] - final[label] for label in best if label in final}


def forgetting(rows: Sequence[Row]) -> float | None:
    """Mean of `forgetting_per_class`; None while there is only one row."""
    values = forgetting_per_class(rows).values()
    return sum(values) / len(values) if values else None
