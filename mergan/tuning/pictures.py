"""Pictures of a search: its history, which settings mattered, and how values and figures go together."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mergan.system.files import replacing
from mergan.tuning.plan import Plan

FEWEST = 2  # finished trials from which a picture shows something


def draw(study: Study, plan: Plan) -> None:
    """Write the pictures into the search folder.

    Args:
        study: the study, with at least one finished trial.
        plan: the search.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < FEWEST:
        return
    from optuna.visualization import matplotlib as drawing

    several = len(plan.metrics) > 1
    kinds: dict[str, Callable[..., Any]] = {
        "history": drawing.plot_optimization_history,
        "importances": drawing.plot_param_importances,
        "parallel_coordinates": drawing.plot_parallel_coordinate,
    }
    with warnings.catch_warnings(), matplotlib.rc_context({"text.parse_math": False}):
        warnings.simplefilter("ignore")  # Optuna calls its pictures experimental
        for place, metric in enumerate(plan.metrics):
            for kind, plot in kinds.items():
                if kind == "importances" and _all_equal(finished, place):
                    continue
                target = {"target": lambda trial, place=place: trial.values[place]} if several else {}
                name = f"{kind}_{metric}" if several else kind
                _save(plot(study, target_name=metric, **target), plan.folder / f"{name}.png")
        if len(plan.metrics) in (2, 3):
            axes = drawing.plot_pareto_front(study, target_names=list(plan.metrics))
            _save(axes, plan.folder / "pareto_front.png")


def _all_equal(finished: list[FrozenTrial], place: int) -> bool:
    """Whether all trials have the same figure, of which no setting is a cause."""
    return len({trial.values[place] for trial in finished}) == 1


def _save(axes: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure = axes.figure
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
    pyplot.close(figure)
