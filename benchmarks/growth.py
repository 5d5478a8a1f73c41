"""3: time per step and memory as the number of tasks grows."""

from __future__ import annotations

import json
import logging
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from benchmarks.fits import Fit
from benchmarks.measure import Figure
from mergan import config
from mergan.acgan import ACGAN

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
        self.peaks[task] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB
        self.yards.setdefault(task, []).append(self._yardstick.measure())


def run(cache_dir: Path, tasks: int = 100, steps: int = 40) -> list[Figure]:
    """One stream of one-class tasks per strategy, in a process of its own, whose peak of memory is its own.

    The two tasks lie minutes apart, in which the machine may become faster or slower: both are measured
    by the yardstick. `low` and `high` are the least and the greatest ratio of the quartiles.
    """
    figures = []
    for name in STRATEGIES:
        command = [sys.executable, "-m", "benchmarks.growth", name, str(cache_dir), str(tasks), str(steps)]
        command.append(str(torch.get_num_threads()))
        done = subprocess.run(command, cwd=config.CONF.parent, capture_output=True, text=True, check=True)
        figures += compared(name, json.loads(done.stdout.splitlines()[-1]), tasks)
    return figures


def compared(name: str, measured: dict[str, Any], tasks: int) -> list[Figure]:
    """Time and memory of the last task looked at over those of the second."""
    looked_at = [str(task) for task in LOOKED_AT if task <= tasks]
    first, last = looked_at[0], looked_at[-1]
    yards = {task: statistics.median(measured["yards"][task]) for task in looked_at}
    quartiles = {
        task: [part / yards[task] for part in statistics.quantiles(measured["steps"][task][2:], n=4)]
        for task in looked_at
    }
    ratios = [after / before for before, after in zip(quartiles[first], quartiles[last], strict=True)]
    details = {
        "step in yardsticks": {task: quartiles[task][1] for task in looked_at},
        "yardstick, milliseconds": {task: 1000 * yards[task] for task in looked_at},
        "peak MiB": {task: measured["peaks"][task] for task in looked_at},
    }
    span = f"task {last} over task {first}: {name}"
    memory = measured["peaks"][last] / measured["peaks"][first]
    target = "" if name.endswith("buffer") else "<= 1.05"
    return [
        Figure(f"time per step, {span}", "<= 1.05", ratios[1], min(ratios), max(ratios), "x", details),
        Figure(f"peak memory, {span}", target, memory, memory, memory, "x", details),
    ]


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
