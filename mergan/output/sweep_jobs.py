"""A job of a sweep, and the record that it keeps of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from mergan.output.reading import read_text
from mergan.system import files
from mergan.system.errors import ConfigError

LIMIT = 2**20  # bytes of a record
OF_COMMAND = ("resume", "allow_changes", "trust", "cache_dir")  # say how a command works, not what is trained


class Status(StrEnum):
    """What has become of a job."""

    waiting = "waiting"
    running = "running"
    finished = "finished"
    failed = "failed"
    stopped = "stopped"


@dataclass(frozen=True)
class Job:
    """A job of a sweep, as its record describes it.

    Attributes:
        number: from 0, in the order of the sweep.
        overrides: as typed, e.g. `lr=1e-3`.
        status: what has become of it.
        folder: the run folder; relative to the sweep folder if it lies inside. Empty before it starts.
        reason: why it failed or was stopped, one line.
        exit_status: that of a command with this job alone.
        figures: as in metrics.json, once it is finished.
    """

    number: int
    overrides: tuple[str, ...]
    status: Status = Status.waiting
    folder: str = ""
    reason: str = ""
    exit_status: int = 0
    figures: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """What is trained, by key, as typed."""
        parts = (word.lstrip("+").partition("=") for word in self.overrides)
        return {key: value for key, _, value in parts if key not in OF_COMMAND}


def write_job(job: Job, path: Path) -> None:
    """Write the record of a job."""
    files.write_text(path, json.dumps(asdict(job), indent=1) + "\n")


def read_job(path: Path) -> Job:
    """Read the record of a job.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: it is no record.
    """
    text = read_text(path, LIMIT)
    try:
        content = json.loads(text)
        figures = {str(key): value for key, value in content["figures"].items()}
        if not all(isinstance(value, (int, float, str)) for value in figures.values()):
            raise TypeError("a figure is no number")
        return Job(
            int(path.stem),
            tuple(map(str, content["overrides"])),
            Status(content["status"]),
            str(content["folder"]),
            str(content["reason"]),
            int(content["exit_status"]),
            figures,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no record of a job; remove it, and start the sweep again") from error
