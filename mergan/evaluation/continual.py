"""Continual summaries of matrices (pure Python).

Row t of a matrix holds the value of a metric for every class after task t, as a dict from class to
value. Classes not yet seen are absent, and so are classes whose value could not be computed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

Row = Mapping[int, float]


def average(row: Row) -> float:
    """Mean over the classes of a row."""
    return sum(row.values()) / len(row)


def forgetting_per_class(rows: Sequence[Row], higher_is_better: bool = True) -> dict[int, float]:
    """How much worse each class is at the end than at its earlier best (0: nothing forgotten).

    Chaudhry et al. 2018, arXiv 1801.10112, eq. 3, per class: max over t < T of a[t][c] - a[T][c]. If lower
    is better: a[T][c] - min over t < T of a[t][c]. Either way, positive means worse, and a class that
    improved is negative. Classes first seen in the last task have no earlier value and are absent. In a
    stream with repetition, the last task's returning classes do have one and count.
    """
    sign = 1.0 if higher_is_better else -1.0
    final = rows[-1]
    best: dict[int, float] = {}
    for row in rows[:-1]:
        for label, value in row.items():
            best[label] = max(sign * value, best.get(label, sign * value))
    return {label: best[label] - sign * final[label] for label in best if label in final}


def forgetting(rows: Sequence[Row], higher_is_better: bool = True) -> float | None:
    """Mean of `forgetting_per_class`; None if there is nothing to compare with."""
    values = forgetting_per_class(rows, higher_is_better).values()
    return sum(values) / len(values) if values else None


def forgetting_name(name: str) -> str:
    """The name under which a metric's forgetting is reported; for the accuracy it is just "forgetting"."""
    return "forgetting" if name == "accuracy" else f"{name}_forgetting"


def figures(
    matrices: Mapping[str, Sequence[Row]],
    pooled: Mapping[str, float],
    higher_is_better: Mapping[str, bool],
    first: Collection[int],
) -> dict[str, float]:
    """The final values of all matrices as a flat dict, as in metrics.json.

    If a metric has a value over the pooled classes, `NAME` is that value and `NAME_average` the mean over
    the classes. Otherwise `NAME` is the mean. With more than one task, `NAME_forgetting` (for the accuracy:
    `forgetting`) and `NAME_first_task` follow. Values that were not computed are absent.

    Args:
        matrices: rows by metric name.
        pooled: values over the pooled classes after the last task, by metric name.
        higher_is_better: whether higher is better, by metric name.
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
