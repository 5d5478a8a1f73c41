"""The progress bar of the whole stream."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning.pytorch as pl
from tqdm import tqdm

from mergan.config.ranges import NonNegative
from mergan.learners import ContinualLearner
from mergan.system import progress
from mergan.system.progress import Progress

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed} < {remaining}]{postfix}"
SHOWN = ("g/loss", "d/loss")


class StreamProgress(pl.Callback):
    """One bar over all generator steps of all tasks, with task, epoch, losses and remaining time.

    Who watches the run from outside is told task and remaining time as well (mergan.system.progress).

    It shows the losses that the module has read back for the loggers, so it never waits for the device.

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
        self._tqdm = tqdm(
            total=sum(task.epochs * steps(task) for task in pl_module.scenario.tasks),
            initial=trainer.global_step,
            mininterval=self.refresh_seconds,
            unit="step",
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
            disable=not (self.bar if self.bar is not None else sys.stderr.isatty()),
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
        if time.monotonic() - self._told >= self.refresh_seconds:
            self._tell(pl_module)

    def _tell(self, learner: ContinualLearner) -> None:
        self._told = time.monotonic()
        pace = (self._told - self._begun) / self._done if self._done else None
        left = None if pace is None else pace * (self._left - self._done)
        progress.tell(Progress(learner.task.index + 1, len(learner.scenario.tasks), left))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the bar, also after an error."""
        if self._tqdm is not None:
            self._tqdm.close()
