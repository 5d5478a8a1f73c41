"""3: time per step and memory as the number of tasks grows."""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from benchmarks.fits import Fit
from benchmarks.measure import Figure
from mergan.acgan import ACGAN

STRATEGIES = {
    "joint_retrain live": ("strategy=joint_retrain", "strategy.mode=live"),
    "joint_retrain buffer": ("strategy=joint_retrain", "strategy.mode=buffer"),
    "replay_alignment": ("strategy=replay_alignment",),
}
LOOKED_AT = (2, 10, 50, 100)  # tasks, counted from 1


class TaskClock(pl.Callback):
    """Seconds of every step and the peak of the memory so far, by task."""

    def __init__(self) -> None:
        self.steps: dict[int, list[float]] = {}
        self.peaks: dict[int, float] = {}
        self._begun = 0.0

    def on_train_batch_start(self, *unused: Any) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *unused: Any) -> None:
        assert isinstance(pl_module, ACGAN)
        task = pl_module.task.index + 1
        self.steps.setdefault(task, []).append(time.perf_counter() - self._begun)
        self.peaks[task] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB


def run(cache_dir: Path, tasks: int = 100, steps: int = 40) -> list[Figure]:
    """One stream of one-class tasks per strategy.

    The two tasks lie minutes apart, so that the ratio carries what the machine does meanwhile; `low` and
    `high` are the least and the greatest ratio of their quartiles.
    """
    figures = []
    last = max(task for task in LOOKED_AT if task <= tasks)
    for name, overrides in STRATEGIES.items():
        clock = TaskClock()
        stream = (
            "data=synthetic",
            f"data.num_classes={tasks}",
            "scenario.classes_per_task=1",
            "epochs=1",
            f"steps_per_epoch={steps}",
            "callbacks.samples=null",
            "logger.tensorboard=null",
        )
        Fit((*stream, *overrides), cache_dir, [clock]).run()
        looked_at = [task for task in LOOKED_AT if task <= tasks]
        quartiles = {task: statistics.quantiles(clock.steps[task][2:], n=4) for task in looked_at}
        ratios = [after / before for before, after in zip(quartiles[2], quartiles[last], strict=True)]
        details = {
            "milliseconds per step": {task: 1000 * quartiles[task][1] for task in looked_at},
            "peak MiB": {task: clock.peaks[task] for task in looked_at},
        }
        span = f"task {last} over task 2: {name}"
        time_name, memory_name = f"time per step, {span}", f"peak memory, {span}"
        figures.append(Figure(time_name, "<= 1.05", ratios[1], min(ratios), max(ratios), "x", details))
        memory = clock.peaks[last] / clock.peaks[2]
        target = "" if name.endswith("buffer") else "<= 1.05"
        figures.append(Figure(memory_name, target, memory, memory, memory, "x", details))
    return figures
