"""Commands that run in parallel, one thread each, and go on where they stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Job:
    """A command that leaves a file when it is done. Started again after an interruption, it goes on.

    Attributes:
        door: the module that is run, e.g. mergan.train.
        words: its command line.
        folder: the folder that it writes into.
        done: the file that is there once it is done.
    """

    door: str
    words: tuple[str, ...]
    folder: Path
    done: Path

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def finished(self) -> bool:
        """Whether it is done."""
        return self.done.is_file()

    def command(self) -> list[str]:
        """The command that starts it."""
        return [sys.executable, "-P", "-m", self.door, *self.words]

    def environment(self) -> dict[str, str]:
        """Its environment variables: one thread, and the path of this mergan if mergan is not installed."""
        paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        if PACKAGE.parent != Path(sysconfig.get_path("purelib")):
            paths.append(str(PACKAGE.parent))
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


class Pool:
    """Runs jobs in parallel; their output goes to log files beside their folders.

    Args:
        size: how many at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, waiting: Sequence[Job]) -> list[Job]:
        """Run all of them; returns those that failed."""
        with ThreadPoolExecutor(self.size) as threads:
            try:
                statuses = list(threads.map(self._run, waiting))
            except BaseException:
                # Ctrl-C or SIGTERM: no further job starts; those that run keep their checkpoints
                threads.shutdown(wait=False, cancel_futures=True)
                for process in self._running:
                    process.terminate()
                raise
        return [job for job, status in zip(waiting, statuses, strict=True) if status != 0]

    def _run(self, job: Job) -> int:
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(job.command(), stdout=log, stderr=log, env=job.environment())
            self._running.append(process)
            status = process.wait()
            self._running.remove(process)
        print(f"{job.folder}: {'done' if status == 0 else f'failed, see {job.log}'}", flush=True)
        return status
