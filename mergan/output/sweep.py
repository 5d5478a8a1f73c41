"""A sweep folder: a record per job, and the two tables that are made of them (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from mergan.output import sweep_tables
from mergan.output.folder import RunFolder
from mergan.output.sweep_jobs import Job, Status, read_job, write_job
from mergan.system import files
from mergan.system.errors import ConfigError


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep (`hydra.sweep.dir`).

    Every job writes a record of its own, so that jobs on many machines need no common file. The tables are
    made of the records each time one of them changes.

    Attributes:
        path: path of the folder.
    """

    path: Path

    @property
    def table(self) -> Path:
        """A row per job: what varied, its status, its figures, its folder."""
        return self.path / "sweep.csv"

    @property
    def summary(self) -> Path:
        """A row per setting: mean and standard deviation of each figure over the seeds."""
        return self.path / "summary.csv"

    def record(self, number: int) -> Path:
        """The record of a job."""
        return self.path / "jobs" / f"{number}.json"

    def log(self, number: int) -> Path:
        """What a job prints if it runs beside others."""
        return self.path / "jobs" / f"{number}.log"

    def progress(self, number: int) -> Path:
        """How far a job is, if it runs beside others."""
        return self.path / "jobs" / f"{number}.progress"

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder for this process.

        Raises:
            ConfigError: another process runs a sweep there.
        """
        said = f"hydra.sweep.dir={self.path}: another process is running a sweep there; "
        return files.locked(self.path, [self.path / "jobs"], said + "wait for it or name another folder")

    def varying(self) -> list[str]:
        """The keys whose values differ among the jobs. They are read from sweep.csv, a single file."""
        with self.table.open(encoding="utf-8", newline="") as file:
            _, *columns = next(csv.reader(file), [""])
        return list(itertools.takewhile(lambda name: name != "status", columns))

    def jobs(self) -> list[Job]:
        """The jobs in their order.

        Raises:
            ConfigError: a record cannot be read.
        """
        paths = [path for path in (self.path / "jobs").glob("*.json") if path.stem.isdecimal()]
        return [read_job(path) for path in sorted(paths, key=lambda path: int(path.stem))]

    def job(self, number: int) -> Job:
        """The job of a number; one that has left no record has no settings.

        Raises:
            ConfigError: its record cannot be read.
        """
        try:
            return read_job(self.record(number))
        except FileNotFoundError:
            return Job(number, ())

    def plan(self, jobs: Sequence[Sequence[str]], going_on: bool) -> None:
        """Set up the records of a sweep that is about to start. Finished jobs of the same settings stay.

        Args:
            jobs: the overrides of each.
            going_on: whether the sweep may go on where an earlier one in this folder ended (resume=auto).

        Raises:
            ConfigError: the folder holds a sweep already.
        """
        earlier = self.jobs()
        if not going_on and any(
            job.folder and RunFolder(self.path / job.folder).holds_run for job in earlier
        ):
            raise ConfigError(
                f"hydra.sweep.dir={self.path}: holds a sweep already; go on with resume=auto, or name "
                "another folder"
            )
        done = [job for job in earlier if job.status is Status.finished]
        kept = {frozenset(job.settings.items()): job for job in done}
        for number, overrides in enumerate(jobs):
            new = Job(number, tuple(overrides))
            self.write(replace(kept.get(frozenset(new.settings.items()), new), number=number))
        for job in earlier:
            if job.number >= len(jobs):
                self.record(job.number).unlink()
        self.write_tables()

    def write(self, job: Job) -> None:
        """Write the record of a job."""
        write_job(job, self.record(job.number))

    def write_tables(self) -> None:
        """Make sweep.csv and summary.csv of the records."""
        with files.alone(self.table):
            jobs = self.jobs()
            files.write_text(self.table, sweep_tables.per_job(jobs))
            files.write_text(self.summary, sweep_tables.per_setting(jobs))

    def within(self, run: Path) -> str:
        """How a record names a run folder."""
        run, own = Path(os.path.abspath(run)), Path(os.path.abspath(self.path))
        return str(run.relative_to(own)) if run.is_relative_to(own) else str(run)
