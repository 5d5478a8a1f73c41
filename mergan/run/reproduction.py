"""Train every row of a table of results, and write the table."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mergan import config
from mergan.output import plots, record, tables
from mergan.output.folder import RunFolder
from mergan.output.places import check_output, check_output_folder
from mergan.output.reading import read_config, read_figures
from mergan.run import automatic
from mergan.system.errors import ConfigError, TrainingError
from mergan.system.files import write_text
from mergan.system.text import shown

PACKAGE = Path(__file__).resolve().parent.parent
FIGURES = {  # of metrics.json: heading, factor and decimals in the table
    "accuracy": ("accuracy %", 100, 1),
    "reverse_accuracy": ("reverse accuracy %", 100, 1),
    "precision": ("precision", 1, 2),
    "recall": ("recall", 1, 2),
    "coverage": ("coverage", 1, 2),
    "forgetting": ("forgetting %", 100, 1),
    "recall_forgetting": ("forgetting of recall", 1, 2),
    "coverage_forgetting": ("forgetting of coverage", 1, 2),
    "train_seconds": ("training, minutes", 1 / 60, 1),
}


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        experiment: its recipe, a file of conf/experiment.
        seeds: one training per seed.
        paper: the accuracy that the paper reports, in per cent.
    """

    experiment: str
    seeds: Sequence[int]
    paper: float | None = None


@dataclass(frozen=True)
class Plan:
    """What to reproduce, where, how many trainings in parallel, and with which overrides."""

    rows: Mapping[str, Row]
    out: Path
    jobs: int
    overrides: Sequence[str]


@dataclass(frozen=True)
class Training:
    """One training of the table.

    Attributes:
        row: the row that it belongs to.
        overrides: its command line.
        folder: its run folder.
    """

    row: str
    overrides: tuple[str, ...]
    folder: Path

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.folder.with_suffix(".log")

    @property
    def finished(self) -> bool:
        """Whether its final figures exist."""
        return RunFolder(self.folder).finished

    def command(self) -> list[str]:
        """The command that starts it, or resumes it after an interruption."""
        own = (f"hydra.run.dir={self.folder}", "resume=auto")
        return [sys.executable, "-P", "-m", "mergan.train", *self.overrides, *own]

    def environment(self) -> dict[str, str]:
        """Its environment variables: one thread, and the path of this mergan if mergan is not installed."""
        paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        if PACKAGE.parent != Path(sysconfig.get_path("purelib")):
            paths.append(str(PACKAGE.parent))
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


def trainings(plan: Plan) -> list[Training]:
    """The trainings of a plan: the first seed of every row comes before any second seed.

    Raises:
        ConfigError: a run folder holds another configuration, or `train.py` would refuse the settings.
    """
    planned = [
        (position, Training(
            name, (f"experiment={row.experiment}", f"seed={seed}", *plan.overrides),
            plan.out / f"{name}_seed{seed}",
        ))
        for name, row in plan.rows.items()
        for position, seed in enumerate(row.seeds)
    ]  # fmt: skip
    planned.sort(key=lambda entry: entry[0])
    found = [training for _, training in planned]
    for training in found:
        _check_unchanged(training)
    return found


def _check_unchanged(training: Training) -> None:
    """Refuse a run made with other settings than its row has now: its figures would be taken for new ones."""
    path = RunFolder(training.folder).config
    wanted = config.compose(*training.overrides)
    config.check(wanted)
    if not os.path.lexists(path):
        return
    then = read_config(path)
    wanted = automatic.kept(wanted, then)  # what the images decide has not changed with the settings
    now: Any = OmegaConf.to_container(config.apply_caps(wanted), resolve=True, enum_to_str=True)
    changed = [key for key in config.differences(then, now) if not config.harmless(key)]
    if changed:
        raise ConfigError(
            f"{training.folder}: was trained with another {changed[0]}; "
            "remove that folder or name another out="
        )


class Pool:
    """Trainings in parallel, one thread each; their output goes to log files beside the run folders."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, waiting: Sequence[Training]) -> list[int]:
        """Train all of them; returns their exit statuses."""
        with ThreadPoolExecutor(self.jobs) as threads:
            try:
                return list(threads.map(self._train, waiting))
            except BaseException:
                # Ctrl-C or SIGTERM: no further training starts; those that run keep their checkpoints
                threads.shutdown(wait=False, cancel_futures=True)
                for process in self._running:
                    process.terminate()
                raise

    def _train(self, training: Training) -> int:
        training.folder.parent.mkdir(parents=True, exist_ok=True)
        with training.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(training.command(), stdout=log, stderr=log, env=training.environment())
            self._running.append(process)
            status = process.wait()
            self._running.remove(process)
        print(f"{training.folder}: {'done' if status == 0 else f'failed, see {training.log}'}", flush=True)
        return status


def results_table(rows: Mapping[str, Row], found: Sequence[Training]) -> str:
    """The Markdown table: mean and standard deviation of several seeds, a dash for missing figures."""
    headings = ["strategy", "paper: accuracy %", *(heading for heading, _, _ in FIGURES.values()), "seeds"]
    lines = []
    for name in dict.fromkeys(training.row for training in found):
        runs = [
            read_figures(RunFolder(training.folder).figures)
            for training in found
            if training.row == name and training.finished
        ]
        paper = rows[name].paper
        lines.append(
            [
                name,
                "-" if paper is None else f"{paper:.2f}",
                *(
                    _spread([float(run[key]) for run in runs if key in run], *FIGURES[key][1:])
                    for key in FIGURES
                ),
                str(len(runs)),
            ]
        )
    return tables.markdown(headings, lines)


def _spread(values: Sequence[float], factor: float, decimals: int) -> str:
    if not values:
        return "-"
    mean = f"{factor * statistics.mean(values):z.{decimals}f}"  # z: no minus before 0
    if len(values) == 1:
        return mean
    return f"{mean} ± {factor * statistics.stdev(values):.{decimals}f}"


def reproduce(plan: Plan) -> None:
    """Train what is not finished; write `table.md` and `samples.png` into `plan.out`.

    Raises:
        ConfigError: see `trainings`; also if files of a finished training cannot be read, or `plan.out` is
            not a folder.
        TrainingError: a training failed; the table holds the others.
    """
    check_output_folder(plan.out)
    for name in ("table.md", "samples.png"):
        check_output(plan.out / name, overwrite=True)
    found = trainings(plan)
    for training in found:
        if training.finished:  # an unreadable file is reported before hours of training
            read_figures(RunFolder(training.folder).figures)
            record.last_grid(training.folder)
    waiting = [training for training in found if not training.finished]
    print(f"{len(found)} trainings, {len(found) - len(waiting)} of them finished; log files in {plan.out}")
    statuses = Pool(plan.jobs).run(waiting)
    table = results_table(plan.rows, found)
    write_text(plan.out / "table.md", table + "\n")
    grids: dict[str, Path] = {}  # of the first seed of each row
    for training in found:
        grid = record.last_grid(training.folder)
        if training.finished and grid is not None:
            grids.setdefault(training.row, grid)
    if grids:
        plots.save_png(plots.side_by_side(grids), plan.out / "samples.png")
    print(table)
    failed = [training for training, status in zip(waiting, statuses, strict=True) if status != 0]
    if failed:
        raise TrainingError(f"{failed[0].folder}: failed, see {failed[0].log}")


def plan(settings: config.ReproduceConfig, overrides: Sequence[str]) -> Plan:
    """The plan of a command.

    Args:
        settings: the settings of the command.
        overrides: overrides KEY=VALUE for every training.

    Raises:
        ConfigError: an unknown row, or an invalid number of jobs.
    """
    rows = settings.rows
    names = list(rows) if settings.only is None else settings.only.split(",")
    for name in names:
        if name not in rows:
            raise ConfigError(f"only={shown(name)}: there is no such row, use some of {','.join(rows)}")
    jobs = (os.cpu_count() or 1) if settings.jobs is None else settings.jobs
    if jobs < 1:
        raise ConfigError(f"jobs={jobs}: use a whole number of 1 or more")
    out = Path(settings.out).expanduser()
    return Plan({name: Row(**rows[name]) for name in names}, out, jobs, overrides)
