"""Joint retraining with a whole batch per past class, as on LSUN in the code of Memory Replay GANs."""

from __future__ import annotations

from mergan.scenarios.base import Task
from mergan.strategies.classwise_retrain import ClasswiseRetrain
from mergan.strategies.context import Context


class BatchPerClassRetrain(ClasswiseRetrain):
    """ClasswiseRetrain with N replays of each of the K past classes, where N is `replay_per_step`.

        L_D = L_D(task) + replay_weight / K * sum over past classes c of L_c

    and likewise for L_G. So all past classes together weigh as much as one would in ClasswiseRetrain, and the
    work of a step grows with K.

    The arguments are those of ClasswiseRetrain.
    """

    def replays_of_a_step(self, context: Context) -> int:
        return super().replays_of_a_step(context) * len(context.task.past)

    def past_weight(self, task: Task) -> float:
        return super().past_weight(task) / len(task.past)
