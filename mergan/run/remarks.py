"""What to know about the figures of a run: how they were measured, whom to trust, why some are absent."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from mergan import config
from mergan.config import TrainConfig
from mergan.evaluation import absences
from mergan.evaluation.evaluator import Evaluator
from mergan.scenarios.base import Scenario
from mergan.system import said

log = logging.getLogger(__name__)

TRUSTED = 0.9  # accuracy of the judge on real images, below which its figures mean little


def trusted(settings: TrainConfig) -> float | None:
    """The judge's accuracy on real images below which to warn; None with debug=smoke."""
    return TRUSTED if settings.caps is None else None


def say(settings: TrainConfig, evaluator: Evaluator, scenario: Scenario, figures: Collection[str]) -> None:
    """Log what to know about the final figures.

    Args:
        settings: the configuration.
        evaluator: what has measured the generator.
        scenario: the stream.
        figures: the names of the figures that there are, as in metrics.json.
    """
    if settings.caps is not None:
        said.say(log, config.MEANINGLESS)
        return
    warn_of_judge(settings, evaluator, scenario.classes)
    removed = [name for name, node in settings.evaluation.metrics.items() if node is None]
    for line in absences.reasons(evaluator, figures, removed, scenario):
        said.say(log, line)


def warn_of_judge(settings: TrainConfig, evaluator: Evaluator, classes: Sequence[int]) -> None:
    """Warn if the judge does not recognise real images of `classes`."""
    least, accuracy = trusted(settings), evaluator.judge_accuracy(classes)
    if least is not None and accuracy < least:
        line = (
            f"the judge recognises only {100 * accuracy:.1f} % of the real images: its figures (accuracy, "
            "recall and the like) mean little; try another evaluation.classifier or more "
            "evaluation.classifier_steps"
        )
        said.say(log, line, logging.WARNING)


def conditions(settings: TrainConfig, evaluator: Evaluator, classes: Sequence[int]) -> dict[str, float | str]:
    """The conditions of the measurement, stored with the figures: split, sample counts, features and k."""
    found = {"evaluation_split": settings.evaluation.split.name, **evaluator.conditions(classes)}
    if evaluator.figures:
        found["evaluation_k"] = settings.evaluation.k
    return found
