"""Joint retraining plus replay alignment: both losses of Memory Replay GANs (Wu et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mergan.config.ranges import NonNegative
from mergan.strategies.batches import Drawn
from mergan.strategies.context import Context
from mergan.strategies.joint_retrain import JointRetrain
from mergan.strategies.replay_alignment import ReplayAlignment
from mergan.system import whole_batch


class RetrainAndAlign(JointRetrain):
    """Combines JointRetrain and ReplayAlignment.

    The discriminator sees real images and replays. The generator is aligned with its snapshot for the
    same z and class:

        L_D = L_D of joint retraining
        L_G = L_G of joint retraining + L_RA

    Alignment uses the images of past classes that the generator draws for the discriminator anyway. So
    its only extra cost is to generate the snapshot's images for the same z (times `replay_spread`).

    Retraining alone preserves the past classes as distributions, so an image may drift to another one
    that the discriminator accepts equally. Alignment alone preserves single images, but no discriminator
    notices when they blur. The paper proposes the two as alternatives; combining them is an addition of
    this project.

    Args:
        weight: factor on the squared error between the images of generator and snapshot.
        divide_by_classes: divide `weight` by the number of past classes. A new class's share of the
            adversarial loss falls in the same way.
        edges: factor on the squared error of the differences between neighbouring pixels, see
            ReplayAlignment.
        **retraining: mode, buffer_per_class, max_per_class, replay_per_step, min_real_share,
            replay_weight and replay_spread, see JointRetrain.
    """

    def __init__(
        self, weight: NonNegative, divide_by_classes: bool, edges: NonNegative, **retraining: Any
    ) -> None:
        super().__init__(**retraining)
        self.alignment = ReplayAlignment(
            weight,
            divide_by_classes,
            batch_size=None,
            classifier=False,
            replay_spread=self.replay_spread,
            edges=edges,
        )

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        """The alignment loss, from the second task on."""
        past = context.task.past
        if not past:
            return {}
        z, labels, images = drawn.z, drawn.labels, drawn.images
        with torch.no_grad():
            target = context.snapshot(self.replay_spread * z, labels)
        # A mask instead of indexing, and no torch.isin, which sorts many classes: both would read the number
        # of elements back from the device.
        held = (labels[:, None] == context.all_labels(past)).any(dim=1)
        errors = self.alignment.errors(images, target)
        count = whole_batch.mean(held.sum().to(errors.dtype))
        least = 1 / whole_batch.total(1)
        return self.alignment.weighed((errors * held).sum() / count.clamp(min=least), len(past))
