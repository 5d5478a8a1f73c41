"""Compare finished runs: python -m mergan.report RUN [RUN ...] out=report"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mergan import plots, tables
from mergan.errors import ConfigError, MerganError
from mergan.storage import write_text

SETTINGS = (  # that the tables show where the runs differ in them
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
)
USAGE = "usage: python -m mergan.report RUN [RUN ...] out=report"


@dataclass
class Run:
    """What a finished run left in its folder.

    Attributes:
        folder: the run folder.
        config: its configuration.
        metrics: its final figures.
        averages: average accuracy over the classes seen, after each task.
    """

    folder: Path
    config: DictConfig
    metrics: dict[str, float | str]
    averages: list[float]

    @property
    def strategy(self) -> str:
        """Name of the strategy's class."""
        return _setting(self.config, "strategy._target_")


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        ConfigError: it holds no finished run.
    """
    try:
        config = OmegaConf.load(folder / "config.yaml")
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        with (folder / "accuracy_matrix.csv").open(newline="", encoding="utf-8") as file:
            rows = [[float(cell) for cell in row[1:] if cell] for row in list(csv.reader(file))[1:]]
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: not a finished run ({Path(error.filename).name} is missing)") from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"{folder}: its results cannot be read ({error})") from error
    assert isinstance(config, DictConfig)
    return Run(folder, config, metrics, [sum(row) / len(row) for row in rows])


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The run folders themselves; a folder of runs (a sweep) stands for the finished ones in it.

    Raises:
        ConfigError: a folder that does not exist.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: there is no such folder")
        inner = sorted(path.parent for path in folder.glob("*/metrics.json"))
        found += [folder] if (folder / "config.yaml").exists() or not inner else inner
    return found


def write_report(runs: Sequence[Run], out: Path) -> None:
    """Write `report.md`, `report.csv`, `accuracy.png` and `samples.png` into `out`."""
    varied = _varied_keys([run.config for run in runs])
    headings = ["run", *(key.removesuffix("._target_") for key in varied), *tables.COLUMNS.values()]
    rows = [
        [
            str(run.folder),
            *(_setting(run.config, key) for key in varied),
            *tables.figures(run.metrics),
        ]
        for run in runs
    ]
    parts = [
        "# Comparison of runs",
        tables.markdown(headings, rows),
        "![accuracy after each task](accuracy.png)",
    ]
    plots.save_png(plots.accuracy_curves({_label(run): run.averages for run in runs}), out / "accuracy.png")
    grids = {_label(run): path for run in runs if (path := last_grid(run.folder)) is not None}
    if grids:
        plots.save_png(plots.side_by_side(grids), out / "samples.png")
        parts.append("![samples after the last task](samples.png)")
    write_text(out / "report.md", "\n\n".join(parts) + "\n")
    keys = sorted({key for run in runs for key in run.metrics})
    lines = [["run", *varied, *keys]]
    for run, row in zip(runs, rows, strict=True):
        lines.append([*row[: 1 + len(varied)], *(str(run.metrics.get(key, "")) for key in keys)])
    write_text(out / "report.csv", tables.comma_separated(lines))
    print(tables.plain(headings, rows))
    print(f"report: {out / 'report.md'}")


def _label(run: Run) -> str:
    return f"{run.strategy} ({run.folder.name})"


def last_grid(folder: Path) -> Path | None:
    """The sample grid of a run after its last task."""
    return max((folder / "samples").glob("task_*.png"), default=None)


def _varied_keys(configs: Sequence[DictConfig]) -> list[str]:
    """The settings of interest in which the runs differ; always the strategy."""
    values = {key: [_setting(config, key) for config in configs] for key in SETTINGS}
    return [key for key in SETTINGS if len(set(values[key])) > 1 or key == SETTINGS[0]]


def _setting(config: DictConfig, key: str) -> str:
    value = OmegaConf.select(config, key)
    if value is None:
        return "-"
    return str(value).rsplit(".", 1)[-1] if key.endswith("_target_") else str(value)


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    outs = [argument.removeprefix("out=") for argument in arguments if argument.startswith("out=")]
    folders = [Path(argument) for argument in arguments if not argument.startswith("out=")]
    try:
        if not folders or len(outs) > 1:
            raise ConfigError(USAGE)
        runs = [read_run(folder) for folder in find_runs(folders)]
        write_report(runs, Path(outs[0] if outs else "report"))
    except MerganError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
