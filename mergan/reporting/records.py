"""What sweeps and searches say about their runs: those that failed may have left no folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mergan.output.reading import read_text
from mergan.output.sweep import SweepFolder
from mergan.output.sweep_jobs import Job
from mergan.system.errors import ConfigError, reason
from mergan.system.text import shown

TRIALS = "trials.csv"  # of a search folder


@dataclass(frozen=True)
class Account:
    """What is said about a run.

    Attributes:
        name: its folder, or its overrides if it has none.
        state: what has become of it, in the words of the sweep or the search.
        reason: why; may be empty.
    """

    name: str
    state: str
    reason: str


def accounts(folders: Iterable[Path]) -> dict[Path, Account]:
    """What the sweeps and searches among these folders say about their runs, by path of the run folder. A job
    that has none has its record's path.
    """
    found: dict[Path, Account] = {}
    for folder in folders:
        found |= _of_sweep(SweepFolder(folder)) | _of_search(folder)
    return found


def _of_sweep(sweep: SweepFolder) -> dict[Path, Account]:
    try:
        jobs = sweep.jobs()
    except ConfigError as error:  # what the run folders hold is read nevertheless
        place = sweep.path / "jobs"
        return {place.resolve(): Account(str(place), "cannot be read", str(error))}
    return {_place(sweep, job): Account(_name(sweep, job), str(job.status), job.reason) for job in jobs}


def _place(sweep: SweepFolder, job: Job) -> Path:
    return ((sweep.path / job.folder) if job.folder else sweep.record(job.number)).resolve()


def _name(sweep: SweepFolder, job: Job) -> str:
    own = f"job {job.number} of {sweep.path}: {' '.join(job.overrides)}"
    return str(sweep.path / job.folder) if job.folder else own


def trials(folder: Path) -> list[dict[str, str]]:
    """The rows of a search folder's trials.csv.

    Raises:
        FileNotFoundError: it has none.
        ConfigError: the file cannot be read.
    """
    text = read_text(folder / TRIALS)
    try:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ConfigError(shown(f"{folder / TRIALS}: cannot be read ({reason(error)})")) from error


def _of_search(folder: Path) -> dict[Path, Account]:
    try:
        rows = trials(folder)
    except (FileNotFoundError, ConfigError):
        return {}
    return {
        (folder / row["folder"]).resolve(): Account(
            str(folder / row["folder"]), row.get("state") or "", row.get("reason") or ""
        )
        for row in rows
        if row.get("folder") and "\0" not in row["folder"]
    }
