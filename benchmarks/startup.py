"""5: how long a user waits before anything happens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from benchmarks.measure import Figure, seconds
from mergan import config
from mergan.__main__ import DOORS

ROOT = config.CONF.parent


class FirstStep(pl.Callback):
    """Ends the process, with status 0, after the first training step."""

    def on_train_batch_end(self, *unused: Any) -> None:
        os._exit(0)


def timed(command: list[str], status: int) -> float:
    """Seconds until the command has ended with this status.

    Raises:
        RuntimeError: it ended with another one.
    """
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    spent = time.perf_counter() - begun
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    return spent


def first_line(command: list[str]) -> float:
    """Seconds until the command, which is then ended, has printed its first line.

    Raises:
        RuntimeError: it ended without one.
    """
    begun = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        spent = time.perf_counter() - begun
        process.kill()
    if not line:
        raise RuntimeError(f"{' '.join(command)}: printed nothing")
    return spent


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(cache_dir: Path, folder: Path, rounds: int = 5) -> list[Figure]:
    """Help, the refusal of a misspelt key, the first line and the first step of a run."""
    train = [sys.executable, "train.py"]
    libraries = [sys.executable, "-c", "import lightning.pytorch, torchvision"]
    stop = "+callbacks.first_step._target_=benchmarks.startup.FirstStep"
    helped, others, refused, lines, steps, beyond = [], [], [], [], [], []
    for index in range(rounds + 1):  # the first round warms the caches and is dropped
        run_dir = f"hydra.run.dir={folder / f'first_step_{index}'}"
        helped.append(timed([*train, "--help"], 0))
        others.append(max(timed([sys.executable, "-m", "mergan", door, "--help"], 0) for door in DOORS[1:]))
        refused.append(timed([*train, "leraning_rate=1", run_dir], 2))
        lines.append(
            first_line([*train, f"cache_dir={cache_dir}", f"hydra.run.dir={folder / f'line_{index}'}"])
        )
        steps.append(timed([*train, f"cache_dir={cache_dir}", stop, run_dir], 0))
        beyond.append(steps[-1] - timed(libraries, 0))
    return [
        seconds("train.py --help", "<= 1.5", helped[1:]),
        seconds("--help of the other commands, the slowest", "<= 1.5", others[1:]),
        seconds("refusal of a misspelt key", "<= 1.5", refused[1:]),
        seconds("first line of a run", "<= 1", lines[1:]),
        seconds("first step", "<= 4", steps[1:]),
        seconds("first step, beyond importing lightning and torchvision", "<= 2", beyond[1:]),
    ]
