"""Why a figure is absent from the results."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mergan.evaluation.evaluator import Evaluator
from mergan.evaluation.figures import Figure


def reasons(
    evaluator: Evaluator,
    figures: Collection[str],
    removed: Collection[str],
    classes: Sequence[int],
    tasks: int,
) -> list[str]:
    """A line for each reason, which names the figures that are absent for it.

    Args:
        evaluator: what has measured the generator.
        figures: the names of the figures that there are, as in metrics.json.
        removed: metrics that the configuration leaves out.
        classes: the classes that were measured after the last task.
        tasks: number of tasks.
    """
    found: dict[str, list[str]] = {}
    if removed:
        found["evaluation.metrics.NAME=null"] = list(removed)
    if evaluator.reverse_per_class == 0:
        found["evaluation.reverse_per_class=0"] = ["reverse_accuracy"]
    for name, figure in evaluator.figures.items():
        if name not in figures:
            found.setdefault(_shortage(evaluator, figure, classes), []).append(name)
    if tasks == 1:
        found["there is one task"] = ["forgetting"]
    return [f"not measured: {', '.join(names)} ({reason})" for reason, names in found.items()]


def _shortage(evaluator: Evaluator, figure: Figure, classes: Sequence[int]) -> str:
    """Which images a metric lacks; a pooled one sees those of all classes together."""
    space, metric = figure
    real = [len(evaluator.references(label)[space]) for label in classes]
    generated = evaluator.spaces[space].per_class or evaluator.samples_per_class
    made = min(generated, evaluator.samples_per_class) * (len(classes) if metric.pooled else 1)
    there = sum(real) if metric.pooled else max(real)
    whose = "" if metric.pooled else " of a class"
    if there < metric.min_real:
        return f"it takes {metric.min_real} real images{whose}, there are {there}"
    if made < metric.min_generated:
        return f"it takes {metric.min_generated} generated images{whose}, there are {made}"
    return "not to be computed from these images"
