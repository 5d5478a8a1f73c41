"""Pictures of a search: its history, which settings mattered, and how values and figures go together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from optuna.importance import FanovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mergan.system.files import replacing

FEWEST = 2  # finished trials from which a picture shows something
SPACE = 1.9  # inches between two axes of the parallel coordinates


def draw(study: Study, metrics: Mapping[str, bool], folder: Path) -> None:
    """Write the pictures of a study: one of each kind, for several figures one per figure, and their front.

    Args:
        study: the study.
        metrics: the figures that it optimises; true: higher is better.
        folder: the search folder.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < FEWEST:
        return
    from optuna.visualization import matplotlib as drawing

    searched = sorted({name for trial in finished for name in trial.params})  # Optuna's order

    # names may hold a "$", which is no formula
    with warnings.catch_warnings(), matplotlib.rc_context({"text.parse_math": False}):
        warnings.simplefilter("ignore")  # Optuna calls its pictures experimental
        for place, metric in enumerate(metrics):
            names: dict[str, Any] = {"target_name": metric}
            end = ""
            if len(metrics) > 1:
                names["target"] = lambda trial, place=place: trial.values[place]
                end = f"_{metric}"
            axes = drawing.plot_optimization_history(study, **names)
            _save(_history(axes), folder / f"history{end}.png")
            axes = drawing.plot_parallel_coordinate(study, **names)
            _save(_parallel(axes, [metric, *searched]), folder / f"parallel_coordinates{end}.png")
            if not _all_equal(finished, place):
                axes = drawing.plot_param_importances(study, fanova(), **names)
                _save(_importances(axes, metric), folder / f"importances{end}.png")
        if len(metrics) in (2, 3):
            axes = drawing.plot_pareto_front(study, target_names=list(metrics))
            axes.set_title("")
            _save(axes.figure, folder / "pareto_front.png")


def fanova() -> FanovaImportanceEvaluator:
    """What finds importances: shares of the figure's variance that settings explain (Hutter et al. 2014).

    Optuna's own choice, PED-ANOVA, asks what tells the best tenth of the trials from the rest. Of a dozen
    trials that is one or two.
    """
    return FanovaImportanceEvaluator(seed=0)


def _all_equal(finished: list[FrozenTrial], place: int) -> bool:
    """Whether all trials have the same figure, of which no setting is a cause."""
    return len({trial.values[place] for trial in finished}) == 1


def _history(axes: Any) -> Any:
    """The history with whole numbers of trials and its legend below."""
    axes.set_title("")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    return axes.figure


def _importances(axes: Any, metric: str) -> Any:
    axes.set_title("", loc="left")
    axes.set(xlabel=f"importance for {metric} (fANOVA)", ylabel="")
    axes.get_legend().remove()
    return axes.figure


def _parallel(axes: Any, names: Sequence[str]) -> Any:
    """The parallel coordinates with room for the ticks of every axis, and the colour bar beside the last.

    Args:
        axes: as Optuna draws them.
        names: the names of the axes, from the left.
    """
    figure = axes.figure
    first, bar, *further = figure.axes
    figure.set_size_inches(SPACE * (len(further) + 1) + 1, 4.2)
    first.set_title("")
    labels = [name.replace(".", ".\n") for name in names]
    first.set_xticks(first.get_xticks(), labels, rotation=0, ha="center", fontsize=8)
    for part in (first, *further):
        part.grid(visible=False)
        if part.get_yscale() == "log":
            part.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            part.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            part.yaxis.set_minor_formatter(NullFormatter())
        part.tick_params(axis="y", labelsize=8)
        for label in part.get_yticklabels():  # lines cross the ticks of the inner axes
            label.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5})
    place, right = first.get_position(), further[-1].get_tightbbox().x1 / figure.bbox.width
    bar.set_position((right + 0.2 / figure.get_figwidth(), place.y0, 0.02, place.height))
    bar.tick_params(labelsize=8)
    return figure


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
    pyplot.close(figure)
