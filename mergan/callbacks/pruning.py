"""Stops a trial of a search that does badly after a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import lightning.pytorch as pl

from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.learners import ContinualLearner, TaskCallback

Judge = Callable[[int, float], bool]  # task, value -> whether the trial should end
_judge: ContextVar[Judge | None] = ContextVar("judge of the running trial", default=None)


class Pruned(Exception):
    """The trial is not worth going on with. The message says after which task, and why."""


@contextmanager
def judged_by(judge: Judge | None) -> Iterator[None]:
    """Let a judge decide about the training that runs while this context is open; None: nobody decides.

    The judge is no argument of the callback, because those are written into the run's configuration.
    """
    token = _judge.set(judge)
    try:
        yield
    finally:
        _judge.reset(token)


class Pruning(TaskCallback):
    """After every task but the last, lets the search decide whether the trial goes on.

    Outside a search it does nothing, e.g. when a trial is resumed by hand.

    Args:
        metric: the figure to judge by, one that is measured after every task.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Ask about the figures that have just been measured.

        Raises:
            Pruned: the trial should end.
        """
        judge, task = _judge.get(), learner.task.index
        if judge is None or task + 1 == len(learner.scenario.tasks):
            return
        (evaluation,) = (
            part
            for part in trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(part, ContinualEvaluation)
        )
        value = evaluation.figures(learner.scenario).get(self.metric)
        if value is not None and judge(task, value):
            raise Pruned(f"{self.metric} {value:.3f} after task {task + 1} is worse than the median")
