"""Freezes the generator at task boundaries."""

import lightning.pytorch as pl

from mergan.learners import ContinualLearner, TaskCallback


class GeneratorSnapshot(TaskCallback):
    """Finishes a task after its last epoch.

    The generator (with weight averaging: the averaged generator) is copied into the learner's frozen
    snapshot. Then the strategy's `end_task` runs.

    This is the first callback of a run. So its time counts as training time, and the evaluation samples
    with the strategy's final state. The checkpoint of that epoch contains both, so a resumed run has the
    same state as an uninterrupted one.
    """

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Finish the task."""
        learner.end_task()
