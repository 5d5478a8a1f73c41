"""Continual summaries of matrices (pure Python).

Row t of a matrix holds the value of a metric for every class after task t, as a dict from class to
value. Classes not yet seen are absent, and so are classes whose value could not be computed. The published
summaries speak of tasks; `by_task` makes a matrix with a column per task of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from mergan.scenarios.base import Scenario

Row = Mapping[int, float]

# ends of the names of the summaries that need a second task
LEARNED, STREAM, TRANSFER, FIRST = "_learned", "_stream", "_backward_transfer", "_first_task"


def average(row: Row) -> float:
    """Mean over the columns of a row."""
    return _mean(row.values())


def by_task(rows: Sequence[Row], brought: Mapping[int, Collection[int]]) -> list[dict[int, float]]:
    """The matrix with a column per task: the mean over the classes that the task brought.

    Args:
        rows: a matrix with a column per class.
        brought: the classes by task, see `Scenario.brought`.
    """
    return [
        {
            task: _mean(values)
            for task, classes in brought.items()
            if (values := [row[label] for label in classes if label in row])
        }
        for row in rows
    ]


def losses(rows: Sequence[Row], higher_is_better: bool = True) -> dict[int, float]:
    """How much worse each column is at the end than at its earlier best (0: nothing forgotten).

    Chaudhry et al. 2018, arXiv 1801.10112, eq. 3: max over t < T of a[t][j] - a[T][j]. If lower is better:
    a[T][j] - min over t < T of a[t][j]. Either way, positive means worse, and what improved is negative. What
    was first seen in the last task has no earlier value and is absent. In a stream with repetition, the last
    task's returning classes do have one and count.
    """
    sign = 1.0 if higher_is_better else -1.0
    final = rows[-1]
    best: dict[int, float] = {}
    for row in rows[:-1]:
        for column, value in row.items():
            best[column] = max(sign * value, best.get(column, sign * value))
    return {column: best[column] - sign * final[column] for column in best if column in final}


def forgetting(tasks: Sequence[Row], higher_is_better: bool = True) -> float | None:
    """Mean of `losses` over the tasks; None if there is nothing to compare with.

    Args:
        tasks: a matrix with a column per task (the average over j of Chaudhry et al. 2018).
        higher_is_better: the direction of the metric.
    """
    values = losses(tasks, higher_is_better).values()
    return _mean(values) if values else None


def learned(tasks: Sequence[Row]) -> float | None:
    """Mean over the tasks of the value right after the task: the learning accuracy, for any metric.

    Riemer et al. 2019, arXiv 1810.11910. What was known before the stream was not learned in it and does not
    count. None if a task has no value right after it.

    Args:
        tasks: a matrix with a column per task.
    """
    own = {column for row in tasks for column in row if column >= 0}
    if not own or any(column not in tasks[column] for column in own):
        return None
    return _mean([tasks[column][column] for column in own])


def backward_transfer(tasks: Sequence[Row], higher_is_better: bool = True) -> float | None:
    """Mean over all tasks but the last of what later tasks added to the value right after the task.

    Lopez-Paz & Ranzato 2017, arXiv 1706.08840, eq. 3: a[T][k] - a[k][k]. If lower is better:
    a[k][k] - a[T][k]. Either way, negative means forgotten. None if a task has no value right after it, or
    there is nothing to compare with.

    Args:
        tasks: a matrix with a column per task.
        higher_is_better: the direction of the metric.
    """
    sign = 1.0 if higher_is_better else -1.0
    final = tasks[-1]
    earlier = [column for column in final if 0 <= column < len(tasks) - 1]
    if not earlier or any(column not in tasks[column] for column in earlier):
        return None
    return _mean([sign * (final[column] - tasks[column][column]) for column in earlier])


def over_the_stream(values: Sequence[float | None]) -> float | None:
    """Mean over the tasks of the value for all classes seen by then; None if one is missing.

    For the accuracy, the average incremental accuracy of Rebuffi et al. 2017 (arXiv 1611.07725), section 4.
    """
    known = [value for value in values if value is not None]
    return _mean(known) if known and len(known) == len(values) else None


def task_name(task: int) -> str:
    """The name of the column of a task, counted from 1; what was known before the stream is "before"."""
    return "before" if task < 0 else f"task_{task + 1:02d}"


def task_names(matrices: Iterable[Sequence[Row]]) -> dict[int, str]:
    """The names of all columns of matrices with a column per task."""
    return {task: task_name(task) for rows in matrices for row in rows for task in row}


def forgetting_name(name: str) -> str:
    """The name under which a metric's forgetting is reported; for the accuracy it is just "forgetting"."""
    return "forgetting" if name == "accuracy" else f"{name}_forgetting"


def figures(
    matrices: Mapping[str, Sequence[Row]],
    pooled: Sequence[Mapping[str, float]],
    higher_is_better: Mapping[str, bool],
    scenario: Scenario,
    per_task: Mapping[str, Sequence[Row]] = MappingProxyType({}),
) -> dict[str, float]:
    """The summaries of all matrices as a flat dict, as in metrics.json; docs/metrics.md defines each.

    If a metric has a value over the pooled classes, `NAME` is that value and `NAME_average` the mean over
    the classes. Otherwise `NAME` is the mean. The others need a second task. Values that were not computed
    are absent.

    Args:
        matrices: rows by metric name.
        pooled: values over the pooled classes by metric name, after each task.
        higher_is_better: whether higher is better, by metric name.
        scenario: the stream of the rows.
        per_task: matrices with a column per task, by metric name.
    """
    found: dict[str, float | None] = {}
    for name, rows in matrices.items():
        whole = [row.get(name) for row in pooled]
        if whole[-1] is not None:
            found[name] = whole[-1]
        else:
            whole = [average(row) if row else None for row in rows]
        if rows[-1]:
            found[name if name not in pooled[-1] else f"{name}_average"] = average(rows[-1])
        first = [value for label, value in rows[-1].items() if label in scenario.tasks[0].classes]
        tasks = by_task(rows, scenario.brought)
        found |= _summaries(name, tasks, whole, first, higher_is_better[name])
    for name, rows in per_task.items():
        whole = [average(row) if row else None for row in rows]
        first = [rows[-1][0]] if 0 in rows[-1] else []
        found |= {name: whole[-1]} | _summaries(name, rows, whole, first, higher_is_better[name])
    return {name: value for name, value in found.items() if value is not None}


def _summaries(
    name: str, tasks: Sequence[Row], whole: Sequence[float | None], first: Collection[float], better: bool
) -> dict[str, float | None]:
    """The summaries of a metric that need a second task.

    Args:
        name: of the metric.
        tasks: its matrix with a column per task.
        whole: its value for all classes seen, after each task.
        first: the values of the classes of the first task after the last task.
        better: whether higher is better.
    """
    if len(tasks) == 1:
        return {}
    found = {f"{name}{STREAM}": over_the_stream(whole)}
    if tasks[-1]:
        found |= {
            forgetting_name(name): forgetting(tasks, better),
            f"{name}{LEARNED}": learned(tasks),
            f"{name}{TRANSFER}": backward_transfer(tasks, better),
            f"{name}{FIRST}": _mean(first) if first else None,
        }
    return found


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values)
