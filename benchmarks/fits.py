"""Whole fits of the program, timed from the inside."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from omegaconf import DictConfig

from mergan import config
from mergan.learners.acgan import ACGAN
from mergan.run.experiment import build_experiment, tune

ONE_TASK = "scenario.tasks=[[0,1,2,3,4,5,6,7,8,9]]"
FIRST_LOG = 26  # steps; the first of them to be logged imports TensorBoard, once in a run
# as little as an evaluation can be; its time is subtracted
SHORT_EVALUATION = ("evaluation=accuracy", "evaluation.samples_per_class=2", "evaluation.classifier_steps=1")


class Clock(pl.Callback):
    """When each step ended. First among the callbacks, so that the work of the others falls between."""

    def __init__(self) -> None:
        self.step_ends: list[float] = []
        self.end = 0.0

    def on_train_batch_end(self, *unused: Any) -> None:
        self.step_ends.append(time.perf_counter())

    def on_train_end(self, *unused: Any) -> None:
        self.end = time.perf_counter()


class Fit:
    """A run as experiment.run puts it together, but for the results at the end.

    Args:
        overrides: of the configuration.
        cache_dir: where decoded images and judges are kept.
        callbacks: further ones.
    """

    def __init__(
        self, overrides: Sequence[str], cache_dir: Path, callbacks: Sequence[pl.Callback] = ()
    ) -> None:
        self.cfg = compose(*SHORT_EVALUATION, *overrides, f"cache_dir={cache_dir}")
        tune(self.cfg)
        self._folder = tempfile.TemporaryDirectory()
        self.experiment = build_experiment(self.cfg, Path(self._folder.name))
        learner = self.experiment.learner
        if not isinstance(learner, ACGAN):
            raise TypeError("the benchmarks know the steps of learner=acgan only")
        self.learner, self.scenario = learner, self.experiment.scenario
        self.data, self.pool = self.experiment.data, self.experiment.pool
        self._callbacks = callbacks

    def save_images(self, path: Path) -> None:
        """Write the training images and labels as the .npz file that benchmarks.plain_v2 reads."""
        real = self.pool.real_set
        np.savez(path, images=real.images, labels=real.labels)

    def run(self, skip: int = 5) -> float:
        """Train; returns seconds per step from the end of step `skip` to the end of the training, epoch
        ends, logs, checkpoints and snapshots included, evaluation excluded.
        """
        clock, trainer = Clock(), self.experiment.trainer
        with self._folder:
            trainer.callbacks[:0] = [clock, *self._callbacks]  # type: ignore[attr-defined]
            trainer.fit(self.learner, datamodule=self.data)
        spent = clock.end - clock.step_ends[skip - 1] - self.experiment.evaluation.evaluation_seconds
        return spent / (len(clock.step_ends) - skip)


def compose(*overrides: str) -> DictConfig:
    """The checked configuration of `python train.py OVERRIDES`."""
    cfg = config.compose(*overrides)
    config.check(cfg)
    return config.apply_caps(cfg)
