"""Judging the generator after each task."""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from mergan import plots
from mergan.acgan import ACGAN
from mergan.evaluation import continual
from mergan.evaluation.evaluator import Evaluator
from mergan.storage import replacing

log = logging.getLogger(__name__)


class ContinualEvaluation(pl.Callback):
    """Adds a row to the accuracy matrix when a task's last epoch is over, logs it and reports it.

    Args:
        evaluator: what judges the generator.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.rows: list[dict[int, float]] = []
        self.train_seconds = 0.0
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock; after the last epoch of a task judge the generator."""
        assert isinstance(pl_module, ACGAN)
        self.train_seconds += time.perf_counter() - self._started
        task = pl_module.task
        if trainer.current_epoch != task.last_epoch or not trainer.is_global_zero:
            return
        self.rows.append(self.evaluator.accuracy(pl_module.generate, task.seen))
        names = trainer.datamodule.class_names  # type: ignore[attr-defined]
        self._log_row(trainer, pl_module, names)
        write_matrix(Path(trainer.default_root_dir) / "accuracy_matrix.csv", self.rows, names)
        forgotten = continual.forgetting(self.rows)
        log.info(
            "task %d/%d  classes %s  accuracy %.3f%s  %.0f s",
            task.index + 1,
            len(pl_module.scenario.tasks) if pl_module.scenario else 0,
            ",".join(names[label] for label in task.classes),
            continual.average(self.rows[-1]),
            "" if forgotten is None else f"  forgetting {forgotten:.3f}",
            self.train_seconds,
        )

    def _log_row(self, trainer: pl.Trainer, module: ACGAN, names: list[str]) -> None:
        row = self.rows[-1]
        values = {f"accuracy/class_{names[label]}": value for label, value in row.items()}
        values |= {
            f"accuracy/task_{task.index:02d}": sum(row[label] for label in task.classes) / len(task.classes)
            for task in (module.scenario.tasks if module.scenario else ())
            if all(label in row for label in task.classes)
        }
        values["accuracy/average"] = continual.average(row)
        forgotten = continual.forgetting(self.rows)
        if forgotten is not None:
            values["forgetting/average"] = forgotten
            for label, value in continual.forgetting_per_class(self.rows).items():
                values[f"forgetting/class_{names[label]}"] = value
        for logger in trainer.loggers:
            logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)
        plots.to_tensorboard(
            trainer.loggers,
            "accuracy_matrix",
            lambda: plots.matrix_heat_map(self.rows, names),
            trainer.global_step,
        )

    def state_dict(self) -> dict[str, Any]:
        """The matrix so far and the clock, saved with every checkpoint."""
        return {"rows": [dict(row) for row in self.rows], "train_seconds": self.train_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the matrix of the run that is resumed."""
        self.rows = [dict(row) for row in state_dict["rows"]]
        self.train_seconds = state_dict["train_seconds"]


def write_matrix(path: Path, rows: list[dict[int, float]], names: list[str]) -> None:
    """Write an accuracy matrix: one line per task, one column per class; not yet seen is left empty."""
    labels = sorted(rows[-1])
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["task", *(names[label] for label in labels)])
        for index, row in enumerate(rows):
            writer.writerow([index, *(f"{row[label]:.4f}" if label in row else "" for label in labels)])
