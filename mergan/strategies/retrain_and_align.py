"""Joint retraining and replay alignment at once: both losses of Memory Replay GANs (Wu et al. 2018)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mergan.strategies.base import Context
from mergan.strategies.joint_retrain import JointRetrain
from mergan.strategies.replay_alignment import ReplayAlignment


class RetrainAndAlign(JointRetrain):
    """The discriminator sees real images and replays (JointRetrain), and the generator is held to its
    snapshot for the same z and class (ReplayAlignment):

        L_D = L_D of joint retraining (Wu et al. 2018, section 3.2)
        L_G = L_G of joint retraining + L_RA (section 3.3)

    Retraining alone keeps the past classes as distributions, and a picture may drift to another one
    that the discriminator likes as well; alignment alone keeps pictures, and no discriminator sees
    when they blur. The paper proposes the two as alternatives; their sum is this project's.

    Args:
        weight: factor on the mean squared error between the pictures of generator and snapshot.
        divide_by_classes: divide `weight` by the number of past classes.
        batch_size: images per step that are aligned; null: the batch size of the training.
        **retraining: mode, buffer_per_class, max_per_class, replay_per_step, min_real_share and
            replay_weight, see JointRetrain.

    Raises:
        ConfigError: as both of them.
    """

    def __init__(
        self,
        weight: float = 0.5,
        divide_by_classes: bool = False,
        batch_size: int | None = None,
        **retraining: Any,
    ) -> None:
        super().__init__(**retraining)
        self.alignment = ReplayAlignment(weight, divide_by_classes, batch_size)

    def generator_terms(self, context: Context) -> dict[str, Tensor]:
        """The alignment loss, from the second task on."""
        return self.alignment.generator_terms(context)
