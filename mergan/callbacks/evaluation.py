"""Measures the generator after each task."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from mergan.evaluation import continual
from mergan.evaluation.evaluator import Evaluator
from mergan.learners import ContinualLearner, TaskCallback
from mergan.output.folder import RunFolder
from mergan.output.matrix import write_matrix
from mergan.scenarios.base import Scenario
from mergan.system.text import shortened, shown

log = logging.getLogger(__name__)

# figures in the line printed after a task; the last two only where they are measured, as in colour
SHOWN = ("accuracy", "recall", "coverage", "coverage_random", "coverage_pixels")
FORGOTTEN = ("accuracy", "recall", "coverage")  # figures whose forgetting that line names
# a class with less diversity than this counts as collapsed; random features and averaged pixels vary with the
# background most, so that a class with a single background counts as well (docs/metrics.md, Colour)
COLLAPSED = {"diversity": 0.05, "diversity_random": 0.2, "diversity_pixels": 0.2}


class ContinualEvaluation(TaskCallback):
    """After a task's last epoch, adds a row to every matrix (task x class), then logs and reports it.

    Args:
        evaluator: what measures the generator.
        trusted: the judge's accuracy on real images below which the lines after the tasks name it; None:
            they never do.

    Attributes:
        matrices: matrices with a column per class by metric name, with one row per task.
        per_task: those with a column per task (`Metric.per_task`).
        pooled: for each task, the values over all classes together by metric name.
        train_seconds: time spent in epochs.
        evaluation_seconds: time spent in the evaluation between them.
    """

    def __init__(self, evaluator: Evaluator, trusted: float | None) -> None:
        self.evaluator, self.trusted = evaluator, trusted
        self.matrices: dict[str, list[dict[int, float]]] = {name: [] for name in evaluator.per_class}
        self.per_task: dict[str, list[dict[int, float]]] = {name: [] for name in evaluator.per_task}
        self.pooled: list[dict[str, float]] = []
        self.train_seconds = 0.0
        self.evaluation_seconds = 0.0
        self._started = 0.0

    @property
    def rows(self) -> list[dict[int, float]]:
        """The accuracy matrix."""
        return self.matrices["accuracy"]

    def figures(self, scenario: Scenario) -> dict[str, float]:
        """The continual summaries of all matrices; see mergan.evaluation.continual.figures."""
        better = self.evaluator.higher_is_better
        return continual.figures(self.matrices, self.pooled, better, scenario, self.per_task)

    def weak_judge(self, classes: Sequence[int]) -> float | None:
        """The judge's accuracy on the real images of `classes`, if it is too low to trust its figures."""
        if self.trusted is None:
            return None
        accuracy = self.evaluator.judge_accuracy(classes)
        return accuracy if accuracy < self.trusted else None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock, unless the task ends, because the strategy's work then counts as training too."""
        assert isinstance(pl_module, ContinualLearner)
        if trainer.current_epoch != pl_module.task.last_epoch:
            self.train_seconds += time.perf_counter() - self._started

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Stop the clock and measure the generator."""
        ended = time.perf_counter()
        self.train_seconds += ended - self._started
        if not trainer.is_global_zero:
            return
        stored, brought = learner.strategy.stored_images, learner.scenario.brought
        measured = self.evaluator.measure(learner.generate, learner.task.seen, stored, brought)
        for name, row in measured.per_class.items():
            self.matrices[name].append(row)
        for name, row in measured.per_task.items():
            self.per_task[name].append(row)
        self.pooled.append(measured.pooled)
        names: list[str] = trainer.datamodule.pool.class_names  # type: ignore[attr-defined]
        self._log(trainer, learner, names)
        self._write(RunFolder(Path(trainer.default_root_dir)), names)
        self._report(learner, names)
        self._warn_of_collapse(names)
        self.evaluation_seconds += time.perf_counter() - ended

    def _write(self, folder: RunFolder, names: Sequence[str]) -> None:
        """Write `NAME_matrix.csv` for every matrix that has a value."""
        of_tasks = continual.task_names(self.per_task.values())
        for matrices, columns in ((self.matrices, dict(enumerate(names))), (self.per_task, of_tasks)):
            for name, rows in matrices.items():
                if any(rows):
                    write_matrix(folder.matrix(name), rows, columns)

    def _report(self, learner: ContinualLearner, names: Sequence[str]) -> None:
        """Log one line for the terminal."""
        last = {name: rows[-1] for name, rows in self.matrices.items() if rows[-1]}
        averages = [
            f"{name.replace('_', ' ')} {continual.average(last[name]):.3f}" for name in SHOWN if name in last
        ]
        lost = {name: self._forgetting(name, learner.scenario) for name in FORGOTTEN}
        beside = ", ".join(f"{name} {lost[name]:.3f}" for name in FORGOTTEN[1:] if lost[name] is not None)
        weak = self.weak_judge(learner.scenario.classes)
        log.info(
            "task %d/%d  classes %s  %s%s%s%s  %.0f s",
            learner.task.index + 1,
            len(learner.scenario.tasks),
            learner.task.text(names),
            "  ".join(averages),
            "" if lost["accuracy"] is None else f"  forgetting {lost['accuracy']:.3f}",
            f" ({beside})" if beside else "",
            "" if weak is None else f"  (judge {100 * weak:.0f} % on real)",
            self.train_seconds,
        )

    def _warn_of_collapse(self, names: Sequence[str]) -> None:
        """Warn of classes that have lost nearly all their diversity, in whichever feature space."""
        lost: set[int] = set()
        signs = []
        for name, least in COLLAPSED.items():
            row = (self.matrices.get(name) or [{}])[-1]
            low = {label for label, value in row.items() if value < least}
            lost |= low
            signs += [f"{name} below {least:g}"] if low else []
        if lost:
            log.warning(
                "collapsed: %s; there the pictures of a class are nearly all the same (%s of that of real "
                "ones), whatever the accuracy says",
                ", ".join(shortened(shown(names[label])) for label in sorted(lost)),
                ", ".join(signs),
            )

    def _log(self, trainer: pl.Trainer, learner: ContinualLearner, names: Sequence[str]) -> None:
        row = self.rows[-1]
        values = {
            f"accuracy/task_{number:02d}": sum(row[label] for label in task.classes) / len(task.classes)
            for number, task in enumerate(learner.scenario.tasks[: learner.task.index + 1], start=1)
            if all(label in row for label in task.classes)
        }
        for name, rows in self.matrices.items():
            values |= {f"{name}/class_{shown(names[label])}": value for label, value in rows[-1].items()}
            if rows[-1]:
                values[f"{name}/average"] = continual.average(rows[-1])
            if name in self.pooled[-1]:
                values[f"{name}/pooled"] = self.pooled[-1][name]
            values |= self._losses(name, learner.scenario, names)
        for name, rows in self.per_task.items():
            values |= {f"{name}/{continual.task_name(task)}": value for task, value in rows[-1].items()}
            if rows[-1]:
                values[f"{name}/average"] = continual.average(rows[-1])
            forgotten = continual.forgetting(rows, self.evaluator.higher_is_better[name])
            if forgotten is not None:
                values[f"{continual.forgetting_name(name)}/average"] = forgotten
        for logger in trainer.loggers:
            logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)

    def _forgetting(self, name: str, scenario: Scenario) -> float | None:
        """The forgetting of a metric over the tasks so far."""
        tasks = continual.by_task(self.matrices.get(name) or [{}], scenario.brought)
        return continual.forgetting(tasks, self.evaluator.higher_is_better.get(name, True))

    def _losses(self, name: str, scenario: Scenario, names: Sequence[str]) -> dict[str, float]:
        """The forgetting of a metric, and what each class has lost."""
        forgotten = self._forgetting(name, scenario)
        if forgotten is None:
            return {}
        tag = continual.forgetting_name(name)
        values = continual.losses(self.matrices[name], self.evaluator.higher_is_better[name])
        return {
            f"{tag}/average": forgotten,
            **{f"{tag}/class_{shown(names[label])}": value for label, value in values.items()},
        }

    def state_dict(self) -> dict[str, Any]:
        """The matrices and times so far, saved with every checkpoint."""
        return {
            "matrices": {name: [dict(row) for row in rows] for name, rows in self.matrices.items()},
            "per_task": {name: [dict(row) for row in rows] for name, rows in self.per_task.items()},
            "pooled": [dict(row) for row in self.pooled],
            "train_seconds": self.train_seconds,
            "evaluation_seconds": self.evaluation_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the matrices of the resumed run; a new metric has no earlier values."""
        tasks = len(state_dict["pooled"])

        def restored(earlier: Mapping[str, list[dict[int, float]]], names: Sequence[str]) -> dict[str, Any]:
            return {name: [dict(row) for row in earlier.get(name, [{}] * tasks)] for name in names}

        self.matrices = restored(state_dict["matrices"], self.evaluator.per_class)
        self.per_task = restored(state_dict.get("per_task", {}), self.evaluator.per_task)
        self.pooled = [dict(row) for row in state_dict["pooled"]]
        self.train_seconds = state_dict["train_seconds"]
        self.evaluation_seconds = state_dict["evaluation_seconds"]
