"""Why a figure is absent from the results, or refused."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import torch

from mergan.evaluation.evaluator import Evaluator
from mergan.evaluation.figures import Figure
from mergan.system.errors import ConfigError


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


def check(evaluator: Evaluator, classes: Sequence[int]) -> None:
    """Refuse settings with which a pooled metric lacks generated images, though there are real ones enough.

    Args:
        evaluator: what will measure the generator.
        classes: the classes that are measured at the end.

    Raises:
        ConfigError: the message says how many images the metric takes.
    """
    dimensions: dict[str, int] = {}
    for name, (space, metric) in evaluator.figures.items():
        real, made = _counts(evaluator, space, classes)
        if not metric.pooled or sum(real) < metric.min_real:
            continue
        if space not in dimensions:
            dimensions[space] = _dimensions(evaluator, space)
        needed = metric.generated_needed(dimensions[space])
        if made * len(classes) < needed:
            enough = math.ceil(needed / len(classes))
            raise ConfigError(
                f"evaluation.samples_per_class={evaluator.samples_per_class}: {name} takes {needed} "
                f"generated images of features with {dimensions[space]} dimensions, and "
                f"{len(classes)} classes have {made * len(classes)}; use {enough} or more, or "
                f"evaluation.metrics.{name.removesuffix(f'_{space}')}=null"
            )


def _shortage(evaluator: Evaluator, figure: Figure, classes: Sequence[int]) -> str:
    """Which images a metric lacks; a pooled one sees those of all classes together."""
    space, metric = figure
    real, made = _counts(evaluator, space, classes)
    there = sum(real) if metric.pooled else max(real)
    made *= len(classes) if metric.pooled else 1
    whose = "" if metric.pooled else " of a class"
    needed = metric.generated_needed(_dimensions(evaluator, space))
    if there < metric.min_real:
        return f"it takes {metric.min_real} real images{whose}, there are {there}"
    if made < needed:
        return f"it takes {needed} generated images{whose}, there are {made}"
    return "not to be computed from these images"


def _counts(evaluator: Evaluator, space: str, classes: Sequence[int]) -> tuple[list[int], int]:
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
