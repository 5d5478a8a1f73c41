"""What stands in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mergan.reporting import charts, comparisons, curves, drawing, grids, logs, maps, statistics
from mergan.reporting.groups import Setting
from mergan.reporting.page import Section
from mergan.reporting.runs import Collection

TRUSTED = 0.9  # accuracy of the judge on real images, below which its figures mean little
MOST_NAMED = 5  # settings in a remark
MOST_FORGOTTEN = 4  # metrics whose forgetting is shown by class


def of_folders(settings: Sequence[Setting], found: Collection) -> list[Section]:
    """All that needs the run folders only."""
    logged = {id(run): logs.read_log(run.folder) for setting in settings for run in setting.runs}
    overview = Section(
        "settings", "Settings",
        "Runs that differ in their seed alone are one setting.",
        tables=[comparisons.by_setting(settings)],
        remarks=[*_meaningless(settings), *_unequal(settings), *_repeated(settings)],
    )  # fmt: skip
    return [
        overview,
        Section(
            "tasks", "After every task",
            "Lines are means over the seeds, bands one standard deviation. A dashed line across is a setting "
            "that learns all classes in one task. Tasks are counted from 1.",
            list(curves.after_tasks(settings, logged)), remarks=_few_lines(settings),
        ),
        _forgetting(settings),
        _differences(settings),
        _grids(settings),
        Section(
            "matrices", "Matrices", "The value of every class after every task, mean over the seeds.",
            list(maps.matrices(settings)), remarks=_few_maps(settings),
        ),
        Section(
            "training", "Training", "What was logged over the steps: mean and standard deviation over seeds.",
            list(curves.training_curves(settings, logged)), remarks=_unlogged(logged),
        ),
        _costs(settings),
        _configuration(settings),
        _runs(settings, found),
    ]  # fmt: skip


def _forgetting(settings: Sequence[Setting]) -> Section:
    own = Section(
        "forgetting", "Forgetting by class",
        "How much worse a class is after the last task than at its best. Classes of the last task have "
        "nothing to forget.",
    )  # fmt: skip
    taken: set[str] = set()
    of_classes = [
        metric for metric in statistics.metrics_of(settings, drawing.METRICS)
        if not statistics.is_per_task(settings, metric)
    ]  # fmt: skip
    for metric in of_classes[:MOST_FORGOTTEN]:
        name = drawing.file_name("forgetting_", metric, taken, "svg").removesuffix(".svg")
        table = comparisons.forgetting(settings, metric, name)
        if table is not None:
            own.drawings.append(maps.forgetting_map(table, metric))
            own.folded.append(table)
    if not own.drawings:
        own.remarks.append("No run was measured after more than one task, so there is nothing to compare.")
    return own


def _differences(settings: Sequence[Setting]) -> Section:
    own = Section("differences", "Paired differences")
    table = comparisons.differences(settings)
    if table.rows:
        own.tables.append(table)
    elif len(settings) > 1:
        own.remarks.append("No two settings have a seed in common, so no differences are formed.")
    return own


def _grids(settings: Sequence[Setting]) -> Section:
    pairs = grids.chosen(settings)
    own = Section(
        "samples", "Samples",
        "A row per class with its name and the task that brought it. Real training images stand below, "
        "smaller.",
        list(grids.drawings(pairs)), wide=True,
    )  # fmt: skip
    count = sum(len(setting.runs) for setting in settings)
    if count > len(pairs):
        own.remarks.append(
            f"Of {count} runs, the grids of {len(pairs)} are shown: the first seeds of the settings."
        )
    if not own.drawings:
        own.remarks.append("No run has a sample grid.")
    return own


def _costs(settings: Sequence[Setting]) -> Section:
    chart = curves.quality_against_time(settings)
    return Section("costs", "Costs", drawings=[chart] if chart else [], tables=[comparisons.costs(settings)])


def _configuration(settings: Sequence[Setting]) -> Section:
    table = comparisons.configuration(settings)
    own = Section("configuration", "Configuration")
    if table.rows:
        own.tables.append(table)
    elif len(settings) == 1:
        own.remarks.append("There is a single setting.")
    return own


def _runs(settings: Sequence[Setting], found: Collection) -> Section:
    own = Section("runs", "Runs", tables=[comparisons.by_run(settings)])
    own.folded.append(comparisons.all_figures(settings, classes=False))
    if found.missing:
        own.tables.append(comparisons.missing(found.missing))
    return own


def _unequal(settings: Sequence[Setting]) -> list[str]:
    """What must not be compared without a thought."""
    names = {tuple(matrix.classes) for each in settings for run in each.runs
             if (matrix := run.matrices.get("accuracy")) is not None}  # fmt: skip
    return (
        ["The runs have learned different classes: compare their figures with care."]
        if len(names) > 1
        else []
    )


def _meaningless(settings: Sequence[Setting]) -> list[str]:
    """Runs whose figures mean little, whatever they are."""
    smoke = [setting.name for setting in settings if setting.runs[0].config.get("caps")]
    weak = [
        setting.name
        for setting in settings
        if setting.name not in smoke
        and (found := statistics.figure(setting, "judge_accuracy"))
        and found.mean < TRUSTED
    ]
    said = [(smoke, "debug=smoke: the figures mean nothing")]
    said.append(
        (weak, "the judge recognises too few real images, so accuracy, recall and the like mean little")
    )
    return [f"{_listed(names)}: {words}." for names, words in said if names]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{'; '.join(names[:MOST_NAMED])}{more}"


def _repeated(settings: Sequence[Setting]) -> list[str]:
    count = sum(len(setting.repeats) for setting in settings)
    if not count:
        return []
    example = next(run for setting in settings for run in setting.repeats)
    return [
        f"Runs with a setting and a seed that another run has too do not count: {count}, e.g. "
        f"{example.folder}."
    ]


def _few_lines(settings: Sequence[Setting]) -> list[str]:
    return (
        [f"Of {len(settings)} settings, the first {charts.MOST_LINES} are drawn."]
        if len(settings) > charts.MOST_LINES
        else []
    )


def _few_maps(settings: Sequence[Setting]) -> list[str]:
    most = maps.MOST_SETTINGS
    return [f"Of {len(settings)} settings, the first {most} are drawn."] if len(settings) > most else []


def _unlogged(logged: Mapping[int, logs.Log]) -> list[str]:
    remarks = [log.remark for log in logged.values() if log.remark]
    if not remarks:
        return []
    more = f" (and {len(remarks) - 1} more)" if len(remarks) > 1 else ""
    return [f"Without curves: {remarks[0]}{more}."]
