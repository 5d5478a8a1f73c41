"""Freezing the generator at task boundaries."""

import lightning.pytorch as pl

from mergan.learners import ContinualLearner, TaskCallback


class GeneratorSnapshot(TaskCallback):
    """Concludes a task when its last epoch is over: the generator is copied into the learner's frozen
    snapshot (with weight averaging: the averaged generator), and the strategy takes its leave.

    It is the first callback of a run: the evaluation's clock still runs, what the strategy then
    samples with is what is judged, and the checkpoint of that epoch holds both, so that a resumed
    run finds what the uninterrupted one had.
    """

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Conclude the task."""
        learner.end_task()
