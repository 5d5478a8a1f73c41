"""Continual summaries of matrices (pure Python).

Row t of a matrix holds a figure of every class after task t, as a dict from class to value; classes
not yet seen, and those for which it could not be computed, are absent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

Row = Mapping[int, float]


def average(row: Row) -> float:
    """Mean over the classes of a row."""
    return sum(row.values()) / len(row)


def forgetting_per_class(rows: Sequence[Row], higher_is_better: bool = True) -> dict[int, float]:
    """How much worse each class is at the end than at its best before (0: nothing forgotten).

    Chaudhry et al. 2018, arXiv 1801.10112, eq. 3, per class: max over t < T of a[t][c] - a[T][c], and
    where lower is better a[T][c] - min over t < T of a[t][c]. Positive means worse either way.
    Classes that were seen for the first time in the last task have no earlier value and are absent. In a
    stream with repetition a class of the last task that was seen before has one, and counts; a class that got
    better counts negative.
    """
    sign = 1.0 if higher_is_better else -1.0
    final = rows[-1]
    best: dict[int, float] = {}
    for row in rows[:-1]:
        for label, value in row.items():
            best[label] = max(sign * value, best.get(label, sign * value))
    return {label: best[label] - sign * final[label] for label in best if label in final}


def forgetting(rows: Sequence[Row], higher_is_better: bool = True) -> float | None:
    """Mean of `forgetting_per_class`; None while there is nothing to compare with."""
    values = forgetting_per_class(rows, higher_is_better).values()
    return sum(values) / len(values) if values else None


def forgetting_name(name: str) -> str:
    """Under which name the forgetting of a metric is reported: that of the accuracy goes without saying."""
    return "forgetting" if name == "accuracy" else f"{name}_forgetting"


def figures(
    matrices: Mapping[str, Sequence[Row]],
    pooled: Mapping[str, float],
    higher_is_better: Mapping[str, bool],
    first: Collection[int],
) -> dict[str, float]:
    """The final figures of all matrices, flat, as in metrics.json.

    `NAME` is the figure over the pooled classes where there is one, and `NAME_average` then the mean
    over the classes; else `NAME` is that mean. `NAME_forgetting` (of the accuracy: `forgetting`) and
    `NAME_first_task` follow where there is more than one task. What was not computed is absent.

    Args:
        matrices: by name of the metric.
        pooled: figures over the pooled classes after the last task.
        higher_is_better: by name.
        first: the classes of the first task.
    """
    found: dict[str, float] = {}
    for name, rows in matrices.items():
        if name in pooled:
            found[name] = pooled[name]
        if not rows or not rows[-1]:
            continue
        found[f"{name}_average" if name in pooled else name] = average(rows[-1])
        if len(rows) == 1:
            continue
        forgotten = forgetting(rows, higher_is_better[name])
        if forgotten is not None:
            found[forgetting_name(name)] = forgotten
        kept = {label: value for label, value in rows[-1].items() if label in first}
        if kept:
            found[f"{name}_first_task"] = average(kept)
    return found
