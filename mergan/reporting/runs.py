"""The runs that a report is about: found below any folder, read as data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergan.output.folder import WRITTEN, RunFolder
from mergan.output.reading import Matrix, read_config, read_figures, read_matrix, read_sessions
from mergan.output.record import last_grid
from mergan.reporting.records import Account, accounts
from mergan.system import files
from mergan.system.errors import ConfigError, StorageError
from mergan.system.text import shown

FINISHED, RUNNING, UNFINISHED = "finished", "running", "unfinished"
UNREADABLE, FAILED = "cannot be read", "failed"
MOST_MATRICES = 40  # of a run; the others are passed over


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        folder: the run folder.
        config: its configuration, nested dicts and lists.
        figures: its final figures, as in metrics.json; empty unless it is finished.
        matrices: by name of the metric, the value of every class after every task.
        grid: the sample grid after its last task.
        state: "finished", or what has become of it.
        reason: why it is not finished, as far as it is known.
        sessions: what it was made with, as in provenance.json; empty if it does not say.
    """

    folder: Path
    config: Mapping[str, Any]
    figures: Mapping[str, float | str] = field(default_factory=dict)
    matrices: Mapping[str, Matrix] = field(default_factory=dict)
    grid: Path | None = None
    state: str = FINISHED
    reason: str = ""
    sessions: Sequence[Mapping[str, Any]] = ()

    @property
    def peak_memory(self) -> float | None:
        """The most memory that a process of the run has held, in bytes; None if a session does not say."""
        peaks = [session.get("peak_memory_bytes") for session in self.sessions]
        known = [float(peak) for peak in peaks if isinstance(peak, int) and 0 < peak < 2**53]
        return max(known) if known and len(known) == len(peaks) else None

    @property
    def finished(self) -> bool:
        """Whether it has its final figures."""
        return self.state == FINISHED

    @property
    def tasks(self) -> int:
        """Number of tasks after which it was measured."""
        return max((len(matrix.rows) for matrix in self.matrices.values()), default=0)


@dataclass(frozen=True)
class Missing:
    """A run that has no figures to show.

    Attributes:
        name: its folder, or what it was to train.
        state: what has become of it.
        reason: why, in one line; may be empty.
    """

    name: str
    state: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """The runs of a report.

    Attributes:
        finished: those with final figures, in the order in which they were found.
        missing: all others.
    """

    finished: Sequence[Run]
    missing: Sequence[Missing]


def read_run(folder: Path, account: Account | None = None) -> Run:
    """Read a run folder, whether the run is finished or not.

    Args:
        folder: the run folder.
        account: what the sweep or the search says about it.

    Raises:
        ConfigError: it holds no run, or a file that cannot be read; the message names it.
    """
    place = RunFolder(folder)
    try:
        config = read_config(place.config)
    except FileNotFoundError as error:
        raise ConfigError(f"{shown(str(folder))}: not a run ({place.config.name} is missing)") from error
    figures = read_figures(place.figures) if place.finished else {}
    paths = list(place.matrices.items())[:MOST_MATRICES]
    matrices = {name: read_matrix(path) for name, path in paths}
    shares = matrices.get("accuracy", Matrix([], [])).rows
    if not all(0 <= value <= 1 for row in shares for value in row if value is not None):
        raise ConfigError(f"{shown(str(place.matrix('accuracy')))}: holds what is no share from 0 to 1")
    state, reason = _state(place, account)
    if state != FINISHED and matrices:
        count = max(len(matrix.rows) for matrix in matrices.values())
        measured = f"measured after {count} task{'s' if count > 1 else ''}"
        reason = f"{reason}; {measured}" if reason else measured
    sessions = read_sessions(place.provenance)
    return Run(folder, config, figures, matrices, last_grid(folder), state, reason, sessions)


def _state(run: RunFolder, account: Account | None) -> tuple[str, str]:
    """What has become of a run, and why it is not finished. A record may be older than the folder."""
    if run.finished:
        return FINISHED, ""
    if _busy(run.path):
        return RUNNING, ""
    if account is None or account.state in (FINISHED, RUNNING):
        return UNFINISHED, f"{run.figures.name} is missing"
    return account.state, account.reason


def _busy(folder: Path) -> bool:
    try:
        return files.busy(folder)
    except (StorageError, OSError):  # a read-only folder: nobody can train there
        return False


def below(folder: Path) -> Iterator[Path]:
    """The run folders in a folder, at any depth, sorted by name; itself, if it is one. A link may lead to a
    run, but not to a folder of runs.
    """
    if RunFolder(folder).holds_run:
        yield folder
    for place, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in WRITTEN)
        inside = (Path(place, name) for name in names)
        yield from (path for path in inside if RunFolder(path).holds_run)


def collect(folders: Sequence[Path]) -> Collection:
    """Read the given run folders, and all runs below the given folders. None counts twice.

    Raises:
        ConfigError: a folder does not exist, a run named directly cannot be read, or no run is finished.
    """
    found: dict[Path, Run | Missing] = {}
    reasons: list[str] = []
    for named in folders:
        if not named.is_dir():
            raise ConfigError(f"{shown(str(named))}: there is no such folder")
        places = list(below(named))
        said = accounts([named, *_parents(places, named)])
        above = accounts([named.absolute().parent]) if named in places else {}
        for place in places:
            known = place.resolve()
            account = said.pop(known, above.get(known))
            if known in found:
                continue
            try:
                run = read_run(place, account)
            except ConfigError as error:
                if place == named:
                    raise
                reasons.append(str(error))
                found[known] = Missing(str(place), UNREADABLE, str(error))
                continue
            if not run.finished:
                reasons.append(f"{shown(str(place))}: not a finished run ({shown(run.reason or run.state)})")
                found[known] = Missing(str(place), run.state, run.reason)
                continue
            found[known] = run
        lost = {path: account for path, account in said.items() if path not in found}
        found |= {path: Missing(each.name, each.state, each.reason) for path, each in lost.items()}
        if not places and not said:
            reasons.append(f"{shown(str(named))}: holds no run")
    finished = [run for run in found.values() if isinstance(run, Run)]
    if not finished:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise ConfigError(f"no run can be reported: {reasons[0] if reasons else 'none has begun'}{more}")
    return Collection(finished, [each for each in found.values() if isinstance(each, Missing)])


def _parents(places: Sequence[Path], named: Path) -> list[Path]:
    """The folders between the named one and its runs: one of them may be a sweep or a search."""
    found: dict[Path, None] = {}
    for place in places:
        for parent in place.parents:
            if parent == named or named not in parent.parents:
                break
            found[parent] = None
    return list(found)
