"""How far a run is, told to whoever watches it from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        task: number of the task, from 1.
        tasks: number of tasks.
        seconds_left: of training, at the speed so far; None before the first steps.
    """

    task: int
    tasks: int
    seconds_left: float | None


def duration(seconds: float) -> str:
    """A time for people to read: 40 s, 12 min, 3.5 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


_listener: Callable[[Progress], None] | None = None


def tell(progress: Progress) -> None:
    """Say how far the run of this process is."""
    if _listener is not None:
        _listener(progress)


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Keep what is told in a file for as long as the context is open. It is removed at the end."""
    global _listener
    _listener = lambda progress: _write(path, progress)  # noqa: E731
    try:
        yield
    finally:
        _listener = None
        path.unlink(missing_ok=True)


def read(path: Path) -> Progress | None:
    """What was told last; None if nothing was."""
    try:
        return Progress(**json.loads(path.read_text(encoding="ascii")))
    except FileNotFoundError:
        return None


def _write(path: Path, progress: Progress) -> None:
    beside = path.with_name(f".{path.name}")
    beside.write_text(json.dumps(asdict(progress)), encoding="ascii")
    os.replace(beside, path)  # a reader never sees half of it; nothing is lost if the machine fails
