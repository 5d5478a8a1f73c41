"""The tables of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mergan.output import tables as figures
from mergan.output.folder import RunFolder
from mergan.reporting import groups, statistics
from mergan.reporting.groups import Setting
from mergan.reporting.runs import Missing, Run
from mergan.reporting.tables import NONE, Cell, Column, Table
from mergan.system.text import shortened

SPREAD = ("_std", "_n")
COSTS = {  # of metrics.json: heading
    "train_seconds": "training, s",
    "evaluation_seconds": "evaluation, s",
    "images_per_second": "images/s",
    "steps": "steps",
    "updates_g": "updates of G",
    "updates_d": "updates of D",
    "images_seen_g": "images seen by G",
    "images_seen_d": "images seen by D",
    "bytes_kept": "bytes kept",
}
NO_RESULTS = (*COSTS, "judge_accuracy")  # keys that say nothing about the generator
MEGABYTE = 1e6
LONGEST = 80  # characters of a value or a reason


def chosen(settings: Sequence[Setting]) -> dict[str, str]:
    """The figures that the tables show, and their headings; only those that a run has."""
    runs = [run.figures for setting in settings for run in setting.runs]
    return {key: heading for key, heading in figures.columns(runs).items() if any(key in run for run in runs)}


def by_setting(settings: Sequence[Setting]) -> Table:
    """A row per setting: mean and standard deviation of every figure over its seeds."""
    keys = chosen(settings)
    columns = [Column("setting", "setting", words=True), Column("seeds", "seeds")]
    columns += [Column(heading, key, SPREAD) for key, heading in keys.items()]
    rows = []
    for setting in settings:
        count = len(setting.runs)
        cells = [_figure(key, statistics.figure(setting, key)) for key in keys]
        rows.append([Cell(setting.name), Cell(str(count), count), *cells])
    caption = "Mean ± standard deviation (n - 1) over the seeds of each setting"
    return Table("settings", caption, columns, rows)


def by_run(settings: Sequence[Setting]) -> Table:
    """A row per finished run, with its exact figures."""
    keys = chosen(settings)
    columns = [
        Column("setting", "setting", words=True),
        Column("seed", "seed"),
        Column("run", "run", words=True),
    ]
    columns += [Column(heading, key) for key, heading in keys.items()]
    rows = [
        [Cell(setting.name), Cell(groups.seed_of(run)), Cell(str(run.folder)), *_exact(run, keys)]
        for setting in settings
        for run in setting.runs
    ]
    return Table("runs", "Final figures of every finished run", columns, rows)


def all_figures(settings: Sequence[Setting], classes: bool = True) -> Table:
    """A row per run: everything in its metrics.json, with or without the figures of single classes."""
    runs = [(setting, run) for setting in settings for run in setting.runs]
    keys = dict.fromkeys(key for _, run in runs for key in run.figures if classes or "_class_" not in key)
    columns = [
        Column("run", "run", words=True),
        Column("setting", "setting", words=True),
        Column("seed", "seed"),
    ]
    columns += [Column(key, key) for key in keys]
    rows = [
        [Cell(str(run.folder)), Cell(setting.name), Cell(groups.seed_of(run)), *_exact(run, keys)]
        for setting, run in runs
    ]
    return Table("figures", "All final figures, as in metrics.json", columns, rows)


def differences(settings: Sequence[Setting]) -> Table:
    """A row per pair of settings: paired differences over their common seeds."""
    keys = {key: heading for key, heading in chosen(settings).items() if key not in NO_RESULTS}
    columns = [Column("difference", "difference", words=True), Column("common seeds", "seeds")]
    columns += [Column(heading, key, ("_low", "_high")) for key, heading in keys.items()]
    rows = []
    for one, other in statistics.pairs(settings):
        common = len(one.by_seed().keys() & other.by_seed().keys())
        cells = [_difference(key, statistics.difference(one, other, key)) for key in keys]
        rows.append([Cell(f"{other.name} minus {one.name}"), Cell(str(common), common), *cells])
    caption = (
        "Differences between settings, run by run over the seeds that both have: mean, and in brackets the "
        "95 % bootstrap interval of the mean. With few seeds the interval is rough; with one there is none."
    )
    return Table("differences", caption, columns, rows)


def forgetting(settings: Sequence[Setting], metric: str, name: str) -> Table | None:
    """A row per setting, a column per class: by how much each class is worse than at its best. `name` is that
    of its files.
    """
    values = {setting.name: statistics.forgotten_over_seeds(setting, metric) for setting in settings}
    classes = list(dict.fromkeys(name for found in values.values() for name in found))
    if not classes:
        return None
    columns = [Column("setting", "setting", words=True), *(Column(name, name, SPREAD) for name in classes)]
    rows = [
        [Cell(setting), *(_figure(metric, found.get(each)) for each in classes)]
        for setting, found in values.items()
        if found
    ]
    word = metric.replace("_", " ")
    caption = f"Forgetting of the {word} by class: its best value after an earlier task minus its last one"
    if not statistics.higher_is_better(metric):
        caption = (
            f"Forgetting of the {word} by class: its last value minus its best one after an earlier task"
        )
    return Table(name, f"{caption}; mean ± standard deviation over seeds", columns, rows)


def configuration(settings: Sequence[Setting]) -> Table:
    """A row per key in which the settings differ, a column per setting."""
    columns = [
        Column("key", "key", words=True),
        *(Column(setting.name, setting.name, words=True) for setting in settings),
    ]
    rows = [
        [Cell(key), *(Cell(shortened(setting.values[key], LONGEST)) for setting in settings)]
        for key in settings[0].values
    ]
    return Table("configuration", "All keys in which the settings differ, apart from the seed", columns, rows)


def costs(settings: Sequence[Setting]) -> Table:
    """A row per setting: time, steps, images, memory, and the size of its checkpoint."""
    columns = [Column("setting", "setting", words=True)]
    columns += [Column(heading, key, SPREAD) for key, heading in COSTS.items()]
    columns.append(Column("peak memory, MB", "peak_memory_megabytes", SPREAD))
    columns.append(Column("checkpoint, MB", "checkpoint_megabytes", SPREAD))
    rows = []
    for setting in settings:
        cells = [_figure("train_seconds", statistics.figure(setting, key)) for key in COSTS]
        peaks = [peak / MEGABYTE for run in setting.runs if (peak := run.peak_memory) is not None]
        sizes = [size for run in setting.runs if (size := _checkpoint(run)) is not None]
        cells.append(_figure("train_seconds", statistics.moments(peaks)))
        rows.append([Cell(setting.name), *cells, _figure("fid", statistics.moments(sizes))])
    caption = (
        "Costs, mean ± standard deviation over seeds. The checkpoint holds all that a run must keep to "
        "go on: networks, moments of the optimizers, and what the strategy remembers."
    )
    return Table("costs", caption, columns, rows)


def missing(found: Sequence[Missing]) -> Table:
    """A row per run that has no figures."""
    columns = [
        Column("run", "run", words=True),
        Column("state", "state", words=True),
        Column("why", "reason", words=True),
    ]
    rows = [
        [Cell(each.name), Cell(each.state or NONE), Cell(shortened(each.reason, 300) or NONE)]
        for each in found
    ]
    return Table("missing", "Runs without final figures; nothing above contains them", columns, rows)


def _checkpoint(run: Run) -> float | None:
    path = RunFolder(run.folder).last
    return path.stat().st_size / MEGABYTE if path.is_file() and not path.is_symlink() else None


def _said(key: str, value: float) -> str:
    text = figures.figures({key: value}, [key])[0]
    return text if float(text) else text.lstrip("-")  # no minus before 0


def _figure(key: str, found: statistics.Moments | None) -> Cell:
    if found is None:
        return Cell(NONE)
    spread = "" if found.deviation is None else f" ± {_said(key, found.deviation)}"
    return Cell(f"{_said(key, found.mean)}{spread}", found.mean, (found.deviation, found.count))


def _difference(key: str, found: statistics.Difference | None) -> Cell:
    if found is None:
        return Cell(NONE)
    text = _signed(key, found.mean)
    if found.low is not None and found.high is not None:
        text += f" [{_signed(key, found.low)}, {_signed(key, found.high)}]"
    return Cell(text, found.mean, (found.low, found.high))


def _signed(key: str, value: float) -> str:
    text = _said(key, abs(value))
    return f"{'-' if value < 0 else '+'}{text}" if float(text) else text


def _exact(run: Run, keys: Mapping[str, str] | Mapping[str, None]) -> list[Cell]:
    found = zip(keys, figures.figures(run.figures, keys), strict=True)
    return [
        Cell(text, value) if isinstance(value := run.figures.get(key), (int, float)) else Cell(text)
        for key, text in found
    ]
