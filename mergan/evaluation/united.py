"""Metrics over several classes at once: all classes seen, or those of each task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from mergan.evaluation.figures import Figure, Measured
from mergan.evaluation.metrics import Comparison, FeatureSet
from mergan.system import interrupts

ByClass = Mapping[int, Mapping[str, Comparison]]  # by class, then by feature space


def compare(
    figures: Mapping[str, Figure], pairs: ByClass, tasks: Mapping[int, Collection[int]], measured: Measured
) -> None:
    """Add the values over the pooled classes, and those of every task whose classes are all there.

    Args:
        figures: all metrics by name; those with a value per class alone are passed over.
        pairs: what is compared of each class.
        tasks: the classes by the task that brought them, see `Scenario.brought`.
        measured: gets the values.
    """
    pooled = {name: figure for name, figure in figures.items() if figure.metric.pooled}
    measured.pooled |= _values(pooled, pairs, sorted(pairs))  # independent of the order of the stream
    of_tasks = {name: figure for name, figure in figures.items() if figure.metric.per_task}
    for task, classes in tasks.items() if of_tasks else ():
        if all(label in pairs for label in classes):
            for name, value in _values(of_tasks, pairs, sorted(classes)).items():
                measured.per_task[name][task] = value


def _values(figures: Mapping[str, Figure], pairs: ByClass, classes: Sequence[int]) -> dict[str, float]:
    """The values over the images of these classes together, of the metrics that have images enough."""
    united: dict[str, Comparison] = {}
    found = {}
    for name, (space, metric) in figures.items():
        interrupts.check()
        if space not in united:
            united[space] = Comparison(
                _union([pairs[label][space].real for label in classes]),
                _union([pairs[label][space].generated for label in classes]),
            )
        if metric.measurable(united[space]):
            found[name] = metric(united[space])
    return found


def _union(sets: Sequence[FeatureSet]) -> FeatureSet:
    return FeatureSet(torch.cat([part.features for part in sets]))
