"""Curves: every metric after every task, losses over the steps, quality against time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mergan.reporting import charts, logs, statistics
from mergan.reporting.charts import Line
from mergan.reporting.drawing import METRICS, Drawing, file_name, title_of
from mergan.reporting.groups import Setting
from mergan.system.text import shown

MOST_METRICS, MOST_CURVES = 16, 12  # charts
SHARES = ("accuracy", "recall", "precision", "coverage")  # from 0 to 1, in whichever feature space


def after_tasks(settings: Sequence[Setting], found: Mapping[int, logs.Log]) -> Iterator[Drawing]:
    """Every metric after every task, a chart each (the paper's figure 6).

    Args:
        settings: the settings; the first `charts.MOST_LINES` are drawn.
        found: the logs, by `id` of the run.
    """
    drawn = settings[: charts.MOST_LINES]
    pooled = {metric for log in found.values() for metric in log.pooled}
    names = statistics.metrics_of(drawn, METRICS)
    names = [name for name in (*METRICS, *names) if name in names or name in pooled]
    taken: set[str] = set()
    for metric in list(dict.fromkeys(names))[:MOST_METRICS]:
        whole = all(metric in found[id(run)].pooled for setting in drawn for run in setting.runs)
        lines = [
            line
            for number, setting in enumerate(drawn)
            if (line := _after_tasks(setting, number, metric, found if whole else {})) is not None
        ]
        if not lines:
            continue
        if len({len(line.x) for line in lines}) == 1 and lines[0].reference:
            continue  # one task each: the table says it all
        title = title_of(metric)
        kind = "over all classes seen" if whole else "mean over the classes seen"
        arrow = "higher is better" if statistics.higher_is_better(metric) else "lower is better"
        share = metric.split("_")[0] in SHARES
        unit = f"{title}, from 0 to 1" if share else title
        yield Drawing(
            file_name("after_tasks_", metric, taken, "svg"), f"{title} after every task",
            f"Line chart of {shown(title)} after each task, {kind}; {arrow}. {_ends(lines)}",
            charts.line_chart(lines, "after task", unit, share), f"{kind}; {arrow}",
        )  # fmt: skip


def _after_tasks(setting: Setting, number: int, metric: str, found: Mapping[int, logs.Log]) -> Line | None:
    values: dict[float, list[float]] = {}
    for run in setting.runs:
        own = found[id(run)].pooled[metric] if found else statistics.averages(run, metric)
        for task, value in own.items():
            values.setdefault(task, []).append(value)
    if not values:
        return None
    return Line(setting.name, number, *charts.spread_of(values), reference=len(values) == 1)


def _ends(lines: Sequence[Line]) -> str:
    """Where each line ends, in words."""
    parts = []
    for line in lines:
        spread = "" if line.spread[-1] is None else f" ± {line.spread[-1]:.3g}"
        parts.append(f"{shown(line.name)}: {line.y[-1]:.3g}{spread}")
    return f"Last values: {'; '.join(parts)}."


def training_curves(settings: Sequence[Setting], found: Mapping[int, logs.Log]) -> Iterator[Drawing]:
    """Losses and what else was logged over the steps, a chart each."""
    drawn = settings[: charts.MOST_LINES]
    names = {name for setting in drawn for run in setting.runs for name in found[id(run)].curves}
    taken: set[str] = set()
    for name in logs.ordered(names)[:MOST_CURVES]:
        lines = []
        for number, setting in enumerate(drawn):
            values: dict[float, list[float]] = {}
            for run in setting.runs:
                for step, value in found[id(run)].curves.get(name, {}).items():
                    values.setdefault(step, []).append(value)
            if values:
                lines.append(Line(setting.name, number, *charts.spread_of(values)))
        title = name
        yield Drawing(
            file_name("curve_", name, taken, "svg"), title,
            f"Line chart of {shown(title)} over the generator's steps. {_ends(lines)}",
            charts.line_chart(lines, "generator step", title, markers=False),
        )  # fmt: skip


def quality_against_time(settings: Sequence[Setting]) -> Drawing | None:
    """Recall, or accuracy, against the seconds of training: a point per run."""
    drawn = settings[: charts.MOST_LINES]
    key = next((key for key in ("recall", "accuracy") if statistics.figure(drawn[0], key)), "accuracy")
    points = [
        (setting.name, number, float(run.figures["train_seconds"]), float(run.figures[key]))
        for number, setting in enumerate(drawn)
        for run in setting.runs
        if "train_seconds" in run.figures and key in run.figures
    ]
    if not points:
        return None
    title = METRICS[key]
    return Drawing(
        "costs.svg", f"{title} against the time of training",
        f"Scatter chart: {title} of every run over its seconds of training.",
        charts.scatter_chart(points, "training, seconds", title),
    )  # fmt: skip
