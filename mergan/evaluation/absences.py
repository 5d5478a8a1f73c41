"""Why a figure is absent from the results, or refused."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from mergan.evaluation.evaluator import NO_TASKS, Evaluator
from mergan.evaluation.figures import Figure
from mergan.scenarios.base import Scenario
from mergan.system.errors import ConfigError


def reasons(
    evaluator: Evaluator,
    figures: Collection[str],
    removed: Collection[str],
    scenario: Scenario,
) -> list[str]:
    """A line for each reason, which names the figures that are absent for it.

    Args:
        evaluator: what has measured the generator.
        figures: the names of the figures that there are, as in metrics.json.
        removed: metrics that the configuration leaves out.
        scenario: the stream, all of whose classes were measured after the last task.
    """
    found: dict[str, list[str]] = {}
    if removed:
        found["evaluation.metrics.NAME=null"] = list(removed)
    if evaluator.reverse_per_class == 0:
        found["evaluation.reverse_per_class=0"] = ["reverse_accuracy"]
    for name, figure in evaluator.figures.items():
        if name not in figures:
            found.setdefault(_shortage(evaluator, figure, scenario), []).append(name)
    if len(scenario.tasks) == 1:
        found["there is one task"] = ["forgetting"]
    return [f"not measured: {', '.join(names)} ({reason})" for reason, names in found.items()]


def check(
    evaluator: Evaluator, classes: Sequence[int], tasks: Mapping[int, Collection[int]] = NO_TASKS
) -> None:
    """Refuse settings with which a metric of several classes lacks generated images, but not real ones.

    Args:
        evaluator: what will measure the generator.
        classes: the classes that are measured at the end.
        tasks: the classes by the task that brought them, for metrics per task.

    Raises:
        ConfigError: the message says how many images the metric takes.
    """
    dimensions: dict[str, int] = {}
    for name, (space, metric) in evaluator.figures.items():
        groups = [classes] if metric.pooled else list(tasks.values()) if metric.per_task else []
        for group in groups:
            real, made = _counts(evaluator, space, group)
            if sum(real) < metric.min_real:
                continue
            if space not in dimensions:
                dimensions[space] = _dimensions(evaluator, space)
            needed = metric.generated_needed(dimensions[space])
            if made * len(group) < needed:
                enough = math.ceil(needed / len(group))
                raise ConfigError(
                    f"evaluation.samples_per_class={evaluator.samples_per_class}: {name} takes {needed} "
                    f"generated images of features with {dimensions[space]} dimensions, and "
                    f"{_counted(group)} {made * len(group)}; use {enough} or more, or "
                    f"evaluation.metrics.{name.removesuffix(f'_{space}')}=null"
                )


def _shortage(evaluator: Evaluator, figure: Figure, scenario: Scenario) -> str:
    """Which images a metric lacks: of all classes together, of a task or of a class."""
    space, metric = figure
    if metric.pooled:
        groups, whose = [scenario.classes], ""
    elif metric.per_task:
        groups, whose = list(scenario.brought.values()), " of a task"
    else:
        groups, whose = [(label,) for label in scenario.classes], " of a class"
    counts = [_counts(evaluator, space, group) for group in groups]
    there = max(sum(real) for real, _ in counts)
    made = max(made * len(group) for group, (_, made) in zip(groups, counts, strict=True))
    needed = metric.generated_needed(_dimensions(evaluator, space))
    if there < metric.min_real:
        return f"it takes {metric.min_real} real images{whose}, there are {there}"
    if made < needed:
        return f"it takes {needed} generated images{whose}, there are {made}"
    return "not to be computed from these images"


def _counts(evaluator: Evaluator, space: str, classes: Collection[int]) -> tuple[list[int], int]:
    """Real images of each class, and generated ones of every class, that are compared in a feature space."""
    most = evaluator.spaces[space].per_class
    real = [evaluator.real_count(label) for label in classes]
    counts = [*real, evaluator.samples_per_class]
    *real, made = counts if most is None else [min(count, most) for count in counts]
    return real, made


def _dimensions(evaluator: Evaluator, space: str) -> int:
    """Number of features of an image."""
    image, _ = evaluator.test.take(np.arange(1))
    return evaluator.spaces[space](torch.from_numpy(image)).shape[1]


def _counted(classes: Collection[int]) -> str:
    """How many classes have, for a message."""
    return "1 class has" if len(classes) == 1 else f"{len(classes)} classes have"
