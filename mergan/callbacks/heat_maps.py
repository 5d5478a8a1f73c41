"""Heat maps of the measured matrices."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import numpy as np

from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.evaluation import continual
from mergan.learners import ContinualLearner, TaskCallback
from mergan.output import plots
from mergan.output.folder import RunFolder
from mergan.output.handing import hand_picture

AFTER_A_TASK = ("accuracy", "coverage")  # drawn for the loggers after each task; at the end, all are drawn


class HeatMaps(TaskCallback):
    """Draws the matrices (task x class): all of them in `matrices.png` at the end, some for the loggers."""

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Hand the most important ones to the loggers; the task has been measured before."""
        if not trainer.is_global_zero:
            return
        task = learner.task.index + 1
        hand_picture(trainer.loggers, "matrices", lambda: _drawn(trainer, AFTER_A_TASK), task)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the picture; also where a resumed run has nothing left to train."""
        if trainer.is_global_zero:
            plots.save_png(_drawn(trainer), RunFolder(Path(trainer.default_root_dir)).heat_maps)


def _drawn(trainer: pl.Trainer, names: tuple[str, ...] | None = None) -> np.ndarray:
    """The matrices of these names, None for all, as one picture."""
    (evaluation,) = (part for part in trainer.callbacks if isinstance(part, ContinualEvaluation))  # type: ignore[attr-defined]
    drawn = evaluation.matrices | evaluation.per_task
    chosen = {name: rows for name, rows in drawn.items() if names is None or name in names}
    classes: list[str] = trainer.datamodule.pool.class_names  # type: ignore[attr-defined]
    tasks = {name: continual.task_names([rows]) for name, rows in evaluation.per_task.items()}
    return plots.heat_maps(chosen, classes, evaluation.evaluator.higher_is_better, tasks)
