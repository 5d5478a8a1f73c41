"""The memory of a replay buffer, found out when the numbers of images are known and before training."""

from __future__ import annotations

from mergan.config import TrainConfig
from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.learners import ContinualLearner
from mergan.run import resources
from mergan.strategies.buffer import ReplayBuffer
from mergan.system.errors import ConfigError

KEY = "buffer_per_class"  # of strategies that generate their replays at a task's start


def check(settings: TrainConfig, data: ClassIncrementalDataModule, learner: ContinualLearner) -> None:
    """Refuse a run whose replays do not fit on the training device.

    `mergan.run.estimate` knows a given number of replays. Without one it follows from the numbers of real
    images and of steps, which are known only now.

    Raises:
        ConfigError: the message names strategy.buffer_per_class.
    """
    buffer = getattr(learner.strategy, "buffer", None)
    node = settings.strategy
    if not isinstance(buffer, ReplayBuffer) or KEY not in node or node.get("mode") == "live":
        return
    there = resources.device_memory(settings.trainer)
    channels, side = data.pool.source.channels, data.pool.image_size
    for task in learner.scenario.tasks:
        if not task.past:
            continue
        counts = data.pool.counts(task.classes)
        batches = task.epochs * data.steps_per_epoch_of(task) * learner.batches_per_step
        per_class = buffer.needed(task, settings.batch_size, counts, batches)
        size = float(per_class) * len(task.past) * channels * side**2
        if there is not None and size > there:
            given = "null" if node[KEY] is None else node[KEY]
            raise ConfigError(
                f"strategy.{KEY}={given}: {per_class} replays of each of the {len(task.past)} past "
                f"classes of task {task.index + 1} need {resources.shown(size)} of memory, there are "
                f"{resources.shown(there)}; give a smaller number"
            )
