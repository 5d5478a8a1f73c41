"""What is measured, and under which names: every metric in every feature space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mergan.evaluation.features import FeatureSpace
from mergan.evaluation.metrics import Metric
from mergan.system.errors import ConfigError

TAKEN = ("accuracy", "reverse_accuracy", "judge_accuracy", "forgetting")  # reserved metric names
PLAIN = "judge"  # the feature space whose figures have no suffix


class Figure(NamedTuple):
    """A metric in a feature space."""

    space: str
    metric: Metric


@dataclass
class Measured:
    """The measured values of one generator.

    Attributes:
        per_class: values by name, then by class; the accuracy comes first. A class with too few images for
            a metric is absent from its row.
        per_task: values by name, then by task, for metrics with `per_task`. A task whose classes have not all
            been measured, or that has too few images, is absent from its row.
        pooled: values over all classes together by name, for metrics with `pooled`.
    """

    per_class: dict[str, dict[int, float]]
    per_task: dict[str, dict[int, float]] = field(default_factory=dict)
    pooled: dict[str, float] = field(default_factory=dict)


def named(metrics: Mapping[str, Metric], spaces: Mapping[str, FeatureSpace]) -> dict[str, Figure]:
    """Every metric in every feature space, under the name of its figure.

    Raises:
        ConfigError: a figure would have the name of another one.
    """
    figures: dict[str, Figure] = {}
    for space in spaces:
        for name, metric in metrics.items():
            figure = name if space == PLAIN else f"{name}_{space}"
            if figure in (*TAKEN, *figures):
                raise ConfigError(f"evaluation.metrics.{name}: the name {figure} is taken, use another one")
            figures[figure] = Figure(space, metric)
    return figures
