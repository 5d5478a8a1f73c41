"""Sweeps side by side whose own process, or one of whose workers, is killed at random moments."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from torture import compare
from torture.runs import ROOT, SETTINGS, Outcome, start

Process = subprocess.Popen[bytes]
LIMIT = 600  # seconds that a sweep may take to its end
JOBS = ["strategy=finetune,joint_retrain", "seed=0,1", "hydra/launcher=parallel", "hydra.launcher.gpus=[]"]


def run(folder: Path, kills: int, seed: int = 0) -> list[Outcome]:
    """Kill a sweep `kills` times, and a worker of another one as often; hold both against one left alone."""
    rng = random.Random(seed)
    trial = Trial(folder)
    return [
        trial.tortured("SIGKILL of a sweep", folder / "parents", kills, rng, _kill),
        trial.tortured("SIGKILL of a worker", folder / "workers", kills, rng, partial(_kill_a_worker, rng)),
    ]


class Trial:
    """A sweep left alone, and others to be held against it."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.reference = folder / "cache", folder / "reference"
        begun = time.monotonic()
        status = start(self.command(self.reference), folder / "reference.txt").wait(LIMIT)
        if status != 0:
            raise SystemExit(f"error: the sweep ended with status {status}, see {folder / 'reference.txt'}")
        self.duration = time.monotonic() - begun

    def command(self, sweep: Path) -> list[str]:
        own = [f"hydra.sweep.dir={sweep}", f"cache_dir={self.cache}", "resume=auto"]
        return [sys.executable, str(ROOT / "train.py"), "-m", *SETTINGS, *own, *JOBS]

    def tortured(
        self, name: str, folder: Path, kills: int, rng: random.Random, strike: Callable[[Process], int]
    ) -> Outcome:
        """Start the same command again after every strike; in a new folder where it came to its end."""
        done, lost, sweep = 0, "", folder / "0"
        while done < kills and not lost:
            process = start(self.command(sweep), folder / "log.txt")
            try:
                status = process.wait(rng.uniform(0.1, 1.0) * self.duration)
            except subprocess.TimeoutExpired:
                done += strike(process)
                process.wait(LIMIT)
                continue
            lost = self.lost(status, sweep)
            sweep = folder / str(done)
        if not lost:
            lost = self.lost(start(self.command(sweep), folder / "log.txt").wait(LIMIT), sweep)
        return Outcome(name, done, int(bool(lost)), lost)

    def lost(self, status: int, sweep: Path) -> str:
        """What a sweep has lost; empty if nothing."""
        if status != 0:
            return f"{sweep}: ended with status {status}"
        same = _untimed(sweep / "summary.csv") == _untimed(self.reference / "summary.csv")
        return "" if same else f"{sweep / 'summary.csv'}: is not that of the sweep left alone"


def _kill(process: Process) -> int:
    """Kill a sweep; returns how many processes were struck."""
    process.kill()
    return 1


def _kill_a_worker(rng: random.Random, process: Process) -> int:
    """Kill one of the workers of a sweep; returns how many processes were struck."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    workers = sorted(
        int(pid) for path in children for pid in path.read_text().split() if _is_worker(int(pid))
    )
    if not workers:
        return 0
    with suppress(ProcessLookupError):
        os.kill(rng.choice(workers), signal.SIGKILL)
    return 1


def _is_worker(pid: int) -> bool:
    try:
        return b"loky" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return False


def _untimed(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if key.rpartition("_")[0] not in compare.CLOCKS}
            for row in csv.DictReader(file)
        ]
