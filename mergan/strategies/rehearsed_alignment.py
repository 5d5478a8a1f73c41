"""Replay alignment whose classifier rehearses the past classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mergan.config.ranges import Count
from mergan.strategies.batches import TrainingBatch
from mergan.strategies.context import Context
from mergan.strategies.replay_alignment import ReplayAlignment


class RehearsedAlignment(ReplayAlignment):
    """Replay alignment (Wu et al. 2018), with replays for the classifier but not for the critic.

        L_D = adv on real and generated images of the new classes + lambda_cls_d * CE_D
        L_G = adv + lambda_cls_g * CE(C(G(z, c)), c), c new, + L_RA, c past
        CE_D = (|new| CE(real images of new classes) + |past| CE(replays)) / (|new| + |past|)

    In joint retraining, replays are real images to the critic. Its errors about them pull the past classes
    off, and variety is lost with every generation. In replay alignment nobody tells a new class from the past
    ones, so some of its images look like them. Here the past classes follow the snapshot alone, and the
    classifier, which sees all classes, keeps the new ones apart. This is a method of this project.

    Args:
        replay_per_step: replays that the classifier sees in an update of the discriminator, drawn uniformly
            from the past classes and made for this update; null: the size of a batch.
        **alignment: weight, divide_by_classes, batch_size, replay_spread and edges, see ReplayAlignment.
    """

    def __init__(self, replay_per_step: Count | None, **alignment: Any) -> None:
        super().__init__(classifier=True, **alignment)
        self.replay_per_step = replay_per_step

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """Real images (n, C, S, S), then replays that have no weight in the adversarial loss."""
        past, new = context.task.past, context.task.classes
        if not past:
            return TrainingBatch.uniform(images, labels)
        count = self.replay_per_step or context.batch_size
        asked = context.labels(past, count)
        replays = context.replay(asked, self.replay_spread).to(images.dtype)
        share = len(new) / (len(new) + len(past))
        real, replayed = (
            torch.full((number,), 1 / number, device=images.device) for number in (len(images), count)
        )
        return TrainingBatch(
            torch.cat([images, replays]),
            torch.cat([labels, asked]),
            torch.cat([share * real, (1 - share) * replayed]),
            len(images),
            torch.cat([real, torch.zeros_like(replayed)]),
        )
