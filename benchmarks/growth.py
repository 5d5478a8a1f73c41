"""3: time per step and memory as the number of tasks grows."""

from __future__ import annotations

import json
import logging
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from benchmarks.fits import Fit
from benchmarks.measure import Figure, Pairs
from mergan import config
from mergan.learners.acgan import ACGAN

STRATEGIES = {
    "joint_retrain live": ("strategy=joint_retrain", "strategy.mode=live"),
    "joint_retrain buffer": ("strategy=joint_retrain", "strategy.mode=buffer"),
    "replay_alignment": ("strategy=replay_alignment",),
}
LOOKED_AT = (2, 10, 50, 100)  # tasks, counted from 1


class Yardstick:
    """The same work every time, much like a step's: what it takes is how fast the machine is just now."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            self.conv = nn.Conv2d(16, 32, kernel_size=4, stride=2, padding=1)
            self.images = torch.randn(48, 16, 16, 16, requires_grad=True)

    def measure(self) -> float:
        """Seconds."""
        begun = time.perf_counter()
        self.conv(self.images).square().sum().backward()
        return time.perf_counter() - begun


def peak_memory() -> float:
    """The most memory that this program has held, in MiB.

    Not getrusage's, which on Linux begins with what the parent had at its start.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 1024  # in kB


class TaskClock(pl.Callback):
    """Seconds of every step and of the yardstick after it, and the peak of memory so far, by task."""

    def __init__(self) -> None:
        self.steps: dict[int, list[float]] = {}
        self.yards: dict[int, list[float]] = {}
        self.peaks: dict[int, float] = {}
        self._yardstick = Yardstick()
        self._begun = 0.0

    def on_train_batch_start(self, *unused: Any) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *unused: Any) -> None:
        assert isinstance(pl_module, ACGAN)
        task = pl_module.task.index + 1
        self.steps.setdefault(task, []).append(time.perf_counter() - self._begun)
        self.peaks[task] = peak_memory()
        self.yards.setdefault(task, []).append(self._yardstick.measure())


def run(cache_dir: Path, tasks: int = 100, steps: int = 40, rounds: int = 3) -> list[Figure]:
    """A stream of one-class tasks, `rounds` times per strategy, each in a process with a peak of its own.

    The two tasks lie minutes apart, in which the machine may become faster or slower: both are measured
    by the yardstick.
    """
    return [figure for name in STRATEGIES for figure in _growth(name, cache_dir, tasks, steps, rounds)]


def _growth(name: str, cache_dir: Path, tasks: int, steps: int, rounds: int) -> list[Figure]:
    """Time and memory of the last task looked at over those of the second."""
    command = [sys.executable, "-m", "benchmarks.growth", name, str(cache_dir), str(tasks), str(steps)]
    command.append(str(torch.get_num_threads()))
    measured = []
    for _ in range(rounds):
        done = subprocess.run(command, cwd=config.CONF.parent, capture_output=True, text=True, check=True)
        measured.append(Measured(**json.loads(done.stdout.splitlines()[-1])))
    looked_at = [str(task) for task in LOOKED_AT if task <= tasks]
    first, last = looked_at[0], looked_at[-1]
    times = Pairs(*([one.in_yardsticks(task) for one in measured] for task in (last, first)))
    peaks = Pairs(*([one.peaks[task] for one in measured] for task in (last, first)))
    details = {
        "steps in yardsticks": {task: [one.in_yardsticks(task) for one in measured] for task in looked_at},
        "peaks, MiB": {task: [one.peaks[task] for one in measured] for task in looked_at},
    }
    span = f"task {last} over task {first}: {name}"
    return [
        times.ratio(f"time per step, {span}", "<= 1.05", **details),
        peaks.ratio(f"peak memory, {span}", "" if name.endswith("buffer") else "<= 1.05", **details),
    ]


@dataclass
class Measured:
    """What a TaskClock has seen in another process, by task."""

    steps: dict[str, list[float]]
    yards: dict[str, list[float]]
    peaks: dict[str, float]

    def in_yardsticks(self, task: str) -> float:
        """The median step, after two to warm up."""
        return statistics.median(self.steps[task][2:]) / statistics.median(self.yards[task])


def main(name: str, cache_dir: str, tasks: str, steps: str, threads: str) -> None:
    """Train in this process; prints the measurements as JSON."""
    logging.disable()
    torch.set_num_threads(int(threads))
    clock = TaskClock()
    stream = (
        "data=synthetic",
        f"data.num_classes={tasks}",
        "scenario.classes_per_task=1",
        "epochs=1",
        f"steps_per_epoch={steps}",
        "callbacks.samples=null",
        "callbacks.progress.bar=false",
        "logger.tensorboard=null",
    )
    Fit((*stream, *STRATEGIES[name]), Path(cache_dir), [clock]).run()
    print(json.dumps({"steps": clock.steps, "yards": clock.yards, "peaks": clock.peaks}))


if __name__ == "__main__":
    main(*sys.argv[1:])
