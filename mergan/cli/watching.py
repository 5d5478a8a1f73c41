"""The status line of jobs that run side by side, and a line for each that ends."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Sequence
from types import TracebackType

from hydra.core.utils import JobReturn, JobStatus

from mergan.cli import messages, sweeps
from mergan.output import sweep_tables, tables
from mergan.output.sweep import SweepFolder
from mergan.output.sweep_jobs import Job, Status
from mergan.system import progress
from mergan.system.text import shortened, shown

REFRESH = 1.0  # seconds
CLEAR = "\r\x1b[K"


class Watch:
    """One line for the whole sweep, on a terminal: done, failed, what is running, how far, time left.

    Args:
        folder: the folder of the sweep.
        jobs: its jobs.
    """

    def __init__(self, folder: SweepFolder, jobs: Sequence[Job]) -> None:
        self._folder = folder
        self._total, self._keys, self._done = len(jobs), sweep_tables.varying(jobs), 0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._live = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._refresh, daemon=True)

    def __enter__(self) -> Watch:
        if self._live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._live:
            self._thread.join()

    def ended(self, number: int, result: JobReturn) -> None:
        """Say what has become of a job: its figures on standard output, an error on standard error."""
        self._done += 1
        job = self._folder.job(number)
        said = f"job {number} ({self._done} of {self._total}): {sweeps.name(job, self._keys)}"
        with self._lock:
            if self._live:
                print(CLEAR, end="", file=sys.stderr, flush=True)
            if result.status is JobStatus.FAILED:
                print(f"error: {shown(said)}: {_reason(result)}", file=sys.stderr, flush=True)
            else:
                print(f"{shown(said)}: {_figures(job)}", flush=True)

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH):
            line = status_line(self._folder)
            width = shutil.get_terminal_size().columns - 1
            with self._lock:
                print(f"{CLEAR}{shortened(line, width)}", end="", file=sys.stderr, flush=True)
        print(CLEAR, end="", file=sys.stderr, flush=True)


def status_line(folder: SweepFolder) -> str:
    """How far a sweep is, in one line."""
    jobs = folder.jobs()
    finished, failed = (
        sum(job.status is status for job in jobs) for status in (Status.finished, Status.failed)
    )
    running = [_place(folder, job) for job in jobs if job.status is Status.running]
    wrong = f", {failed} failed" if failed else ""
    return f"{finished} of {len(jobs)} jobs done{wrong}; running: {', '.join(running) or 'none yet'}"


def _place(folder: SweepFolder, job: Job) -> str:
    found = progress.read(folder.progress(job.number))
    if found is None:
        return f"{job.number} (starting)"
    left = "" if found.seconds_left is None else f", {progress.duration(found.seconds_left)} left"
    return f"{job.number} (task {found.task}/{found.tasks}{left})"


def _figures(job: Job) -> str:
    shown_first = tables.columns([job.figures])
    cells = tables.figures(job.figures, shown_first)
    pairs = zip(shown_first.values(), cells, strict=True)
    return ", ".join(f"{heading} {cell}" for heading, cell in pairs if cell != "-")


def _reason(result: JobReturn) -> str:
    error = result._return_value
    return messages.one_line(error) if isinstance(error, Exception) else str(error)
