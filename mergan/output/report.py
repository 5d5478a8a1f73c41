"""The comparison of finished runs: tables, curves and sample grids side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergan.output import plots, tables
from mergan.output.folder import RunFolder
from mergan.output.places import check_output, check_output_folder
from mergan.output.reading import check_picture, read_config, read_figures, read_matrix
from mergan.system.errors import ConfigError
from mergan.system.files import write_text
from mergan.system.text import markdown, shown

SETTINGS = (  # the tables show those in which the runs differ
    "strategy._target_",
    "strategy.weight",
    "strategy.mode",
    "network.name",
    "objective._target_",
    "epochs",
    "batch_size",
    "embedding_dim",
    "lr",
    "seed",
    "evaluation.split",
    "learner._target_",
    "scenario._target_",
    "scenario.order_seed",
)
LONGEST = 60  # characters of a setting or a name in a table
FILES = ("report.md", "report.csv", "accuracy.png", "samples.png")


@dataclass
class Run:
    """The results of a finished run.

    Attributes:
        folder: the run folder.
        config: its configuration.
        metrics: its final figures.
        averages: average accuracy over the classes seen after each task.
        grid: the sample grid after its last task.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, float | str]
    averages: list[float]
    grid: Path | None

    @property
    def strategy(self) -> str:
        """Name of the strategy's class."""
        return _setting(self.config, "strategy._target_")


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        ConfigError: it holds no finished run, or a file that cannot be read; the message names it.
    """
    try:
        place = RunFolder(folder)
        config = read_config(place.config)
        metrics = read_figures(place.figures)
        rows = read_matrix(place.matrix("accuracy")).rows
        grid = last_grid(folder)
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise ConfigError(f"{shown(str(folder))}: not a finished run ({missing} is missing)") from error
    values = [[value for value in row if value is not None] for row in rows]
    if not all(0 <= value <= 1 for row in values for value in row):
        raise ConfigError(f"{shown(str(place.matrix('accuracy')))}: holds what is no share from 0 to 1")
    return Run(folder, config, metrics, [sum(row) / len(row) for row in values], grid)


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The given run folders; a folder of runs (a sweep) is replaced by its finished runs.

    Raises:
        ConfigError: a folder does not exist.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{shown(str(folder))}: there is no such folder")
        inner = [run.path for run in RunFolder.inside(folder)]
        found += [folder] if RunFolder(folder).config.exists() or not inner else inner
    return found


def collect(folders: Sequence[Path]) -> tuple[list[Run], dict[Path, str]]:
    """Read the given run folders, and the runs in the given folders of runs.

    Returns:
        The runs; and, for each unreadable run in a folder of runs, the reason.

    Raises:
        ConfigError: a run named directly cannot be read, or no run can be read at all.
    """
    runs: dict[Path, Run] = {}
    left_out: dict[Path, str] = {}
    for named in folders:
        for folder in find_runs([named]):
            try:
                runs.setdefault(folder.resolve(), read_run(folder))
            except ConfigError as error:
                if folder == named:
                    raise
                left_out[folder] = str(error)
    if not runs:
        raise ConfigError(f"no run can be read: {next(iter(left_out.values()))}")
    return list(runs.values()), left_out


def write_report(
    runs: Sequence[Run], out: Path, left_out: Mapping[Path, str] | None = None, new: bool = False
) -> None:
    """Write `report.md`, `report.csv`, `accuracy.png` and `samples.png` into `out`.

    Args:
        runs: the runs.
        out: the folder; it is made if necessary.
        left_out: runs that could not be read, and why.
        new: whether existing files must not be replaced.
    """
    varied = _varied_keys([run.config for run in runs])
    columns = tables.columns([run.metrics for run in runs])
    headings = ["run", *(key.removesuffix("._target_") for key in varied), *columns.values()]
    names = [[str(run.folder), *(_setting(run.config, key) for key in varied)] for run in runs]
    figures = [tables.figures(run.metrics, columns) for run in runs]
    escaped = [[cell if cell == "-" else markdown(cell) for cell in row] for row in names]
    parts = [
        "# Comparison of runs",
        tables.markdown(headings, [own + row for own, row in zip(escaped, figures, strict=True)]),
        "![accuracy after each task](accuracy.png)",
    ]
    labels = _labels(runs)
    curves = {label: run.averages for label, run in zip(labels, runs, strict=True)}
    plots.save_png(plots.accuracy_curves(curves), out / "accuracy.png")
    grids = {label: run.grid for label, run in zip(labels, runs, strict=True) if run.grid is not None}
    if grids:
        plots.save_png(plots.side_by_side(grids), out / "samples.png")
        parts.append("![samples after the last task](samples.png)")
    if left_out:
        parts.append("Left out, because they cannot be read:")
        parts.append("\n".join(f"- {markdown(reason)}" for reason in left_out.values()))
    keys = sorted({key for run in runs for key in run.metrics})
    lines = [["run", *varied, *keys]]
    for run, row in zip(runs, names, strict=True):
        lines.append([*row, *(str(run.metrics.get(key, "")) for key in keys)])
    write_text(out / "report.csv", tables.comma_separated(lines), new)
    write_text(out / "report.md", "\n\n".join(parts) + "\n", new)
    print(tables.plain(headings, [own + row for own, row in zip(names, figures, strict=True)]))
    for reason in (left_out or {}).values():
        print(f"left out: {shown(reason)}")
    print(f"report: {shown(str(out / 'report.md'))}")


def _labels(runs: Sequence[Run]) -> list[str]:
    """A name for each run, shorter than its path if the short names still differ."""
    names = [f"{run.strategy} ({run.folder.absolute().name[:LONGEST]})" for run in runs]
    return [
        name if names.count(name) == 1 else f"{run.strategy} ({run.folder})"
        for name, run in zip(names, runs, strict=True)
    ]


def last_grid(folder: Path) -> Path | None:
    """The sample grid of a run after its last task.

    Raises:
        ConfigError: the file is not a picture of a sensible size.
    """
    grids = list(RunFolder(folder).grids.values())
    if not grids:
        return None
    check_picture(grids[-1])
    return grids[-1]


def _varied_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings of `SETTINGS` in which the runs differ, and always the strategy."""
    values = {key: [_setting(config, key) for config in configs] for key in SETTINGS}
    return [key for key in SETTINGS if len(set(values[key])) > 1 or key == SETTINGS[0]]


def _setting(config: Mapping[str, Any], key: str) -> str:
    """A setting as text: a class by its name without the module, "-" for a missing setting."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return "-"
    text = str(value).rsplit(".", 1)[-1] if key.endswith("_target_") else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def make(folders: Sequence[Path], out: Path, overwrite: bool = False) -> None:
    """Compare runs: print the table and write the report.

    Args:
        folders: run folders, and folders of runs; the latter stand for their finished runs.
        out: the folder for the report; `~` stands for the home folder.
        overwrite: whether files of another report may be replaced.

    Raises:
        ConfigError: a folder holds no run, or the report must not be written to `out`.
    """
    out = check_output_folder(out)
    for name in FILES:
        check_output(out / name, overwrite)
    runs, left_out = collect(folders)
    write_report(runs, out, left_out, new=not overwrite)
