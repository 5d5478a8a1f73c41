"""The progress bar of the whole stream, and an estimate of the time that is left."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import lightning.pytorch as pl
import torch
from tqdm import tqdm

from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.config.ranges import NonNegative
from mergan.learners import ContinualLearner
from mergan.system import progress
from mergan.system.progress import Progress

log = logging.getLogger(__name__)

MEASURED = (5, 25)  # the steps of this start between which their pace is taken; the very first are slow
SHORT = 10.0  # seconds; the end of a shorter training is near enough
BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed} < {remaining}]{postfix}"
SHOWN = ("g/loss", "d/loss")


class StreamProgress(pl.Callback):
    """One bar over all generator steps of all tasks, with task, epoch, losses and remaining time.

    After 25 steps a line says how long the rest will take, whether there is a bar or not.

    Who watches the run from outside is told task and remaining time as well (mergan.system.progress).

    It shows the losses that the module has read back for the loggers. It waits for the device twice, to
    measure the pace of the first steps.

    Args:
        refresh_seconds: time between two redraws.
        bar: False draws no bar; null draws one only on a terminal.
    """

    def __init__(self, refresh_seconds: NonNegative, bar: bool | None) -> None:
        self.refresh_seconds = refresh_seconds
        self.bar = bar
        self._tqdm: tqdm[Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the step where training begins or resumes."""
        assert isinstance(pl_module, ContinualLearner)
        steps = trainer.datamodule.steps_per_epoch_of  # type: ignore[attr-defined]
        wanted = self.bar if self.bar is not None else sys.stderr.isatty()
        self._tqdm = tqdm(
            total=sum(task.epochs * steps(task) for task in pl_module.scenario.tasks),
            initial=trainer.global_step,
            mininterval=self.refresh_seconds,
            unit="step",
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
            disable=not (wanted and trainer.is_global_zero),
            bar_format=BAR,
        )
        self._begun = self._told = time.monotonic()
        self._done, self._left = 0, self._tqdm.total - trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show task and epoch."""
        assert isinstance(pl_module, ContinualLearner)
        assert self._tqdm is not None
        self._tell(pl_module)
        task = pl_module.task
        self._tqdm.set_description_str(
            f"task {task.index + 1}/{len(pl_module.scenario.tasks)} "
            f"epoch {trainer.current_epoch - task.first_epoch + 1}/{task.epochs}",
            refresh=False,
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count one step."""
        assert isinstance(pl_module, ContinualLearner) and self._tqdm is not None
        losses = pl_module.last_losses
        self._tqdm.postfix = " ".join(f"{name} {losses[name]:.2f}" for name in SHOWN if name in losses)
        self._tqdm.update()
        self._done += 1
        if self._done in MEASURED and trainer.is_global_zero:
            self._measure(trainer, pl_module)
        if time.monotonic() - self._told >= self.refresh_seconds:
            self._tell(pl_module)

    def _measure(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Take the time at the first of the two steps, and at the second log how long the rest will take."""
        if learner.device.type == "cuda":
            torch.cuda.synchronize(learner.device)  # which may lag behind by many steps
        evaluation = next(part for part in trainer.callbacks if isinstance(part, ContinualEvaluation))  # type: ignore[attr-defined]
        working = time.monotonic() - evaluation.evaluation_seconds
        if self._done == MEASURED[0]:
            self._from = working
            return
        pace, steps = (working - self._from) / (self._done - MEASURED[0]), self._left - self._done
        if pace * steps >= SHORT:
            log.info("%s", _estimate(pace, steps, evaluation, learner))

    def _tell(self, learner: ContinualLearner) -> None:
        self._told = time.monotonic()
        pace = (self._told - self._begun) / self._done if self._done else None
        left = None if pace is None else pace * (self._left - self._done)
        progress.tell(Progress(learner.task.index + 1, len(learner.scenario.tasks), left))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the bar, also after an error."""
        if self._tqdm is not None:
            self._tqdm.close()


def _estimate(pace: float, steps: int, evaluation: ContinualEvaluation, learner: ContinualLearner) -> str:
    """How long a run will take, and what this does not know yet.

    Args:
        pace: seconds per step.
        steps: those that are left.
        evaluation: how long it has taken so far.
        learner: where the stream is.
    """
    tasks, done = learner.scenario.tasks, len(evaluation.pooled)
    seen = [len(task.seen) for task in tasks]
    measuring = evaluation.evaluation_seconds / sum(seen[:done]) * sum(seen[done:]) if done else 0.0
    parts = [
        f"about {progress.duration(pace * steps + measuring)} left: {steps:,} steps at {1000 * pace:.0f} ms"
    ]
    if learner.task.index == 0 and len(tasks) > 1:
        parts.append("later tasks may be slower")
    of_it = f"{progress.duration(measuring)} of it for the evaluation"
    parts.append(of_it if done else "the evaluation after each task comes on top")
    return "; ".join(parts)
