"""Joint retraining on full passes over real images and replays, as in MeRGAN-V2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mergan.strategies.buffer import ReplayBuffer
from mergan.strategies.context import Context
from mergan.strategies.joint_retrain import JointRetrain
from mergan.system import whole_batch
from mergan.system.errors import ConfigError


class FullPassRetrain(JointRetrain):
    """JointRetrain whose epochs pass over the buffer as over the real images: each replay once.

    With `steps_per_epoch=null` an epoch is one pass over both. The replays come in a new random order in
    every epoch; the last batch, which V2 leaves smaller, is filled up with the beginning of another order.
    Each batch has the same share of replays up to one image, where V2 shuffles both together. Of a class with
    more than `max_per_class` real images, the first ones in the data set are taken.

    Args:
        **retraining: see JointRetrain; `mode` is "buffer".

    Raises:
        ConfigError: another mode.
    """

    takes_first = True

    def __init__(self, **retraining: Any) -> None:
        super().__init__(**retraining)
        if self.mode != "buffer":
            raise ConfigError(f"strategy.mode={self.mode}: FullPassRetrain passes over a buffer; use buffer")
        self.buffer: PassedBuffer = PassedBuffer(
            self.buffer.per_class, self.replay_weight, self.buffer.min_real_share
        )

    def begin_task(self, context: Context) -> None:
        """Fill the buffer when the task begins, and start a new pass in every epoch."""
        super().begin_task(context)
        self.buffer.begin_pass()


class PassedBuffer(ReplayBuffer):
    """A buffer whose replays are taken one after another in random order, instead of drawn with replacement.

    Args:
        per_class, weight, min_real_share: see ReplayBuffer.
    """

    def __init__(self, per_class: int | None, weight: float, min_real_share: float) -> None:
        super().__init__(per_class, weight, min_real_share)
        self._upcoming: Tensor | None = None

    def begin_pass(self) -> None:
        """Forget the rest of the current pass."""
        self._upcoming = None

    def picks(self, context: Context, total: int, first: int) -> Tensor:
        """The next replays of the pass; a new one begins where it ends. See Context.picks."""
        upcoming = self._upcoming
        while upcoming is None or len(upcoming) < total:
            order = torch.randperm(len(self.images), generator=context.rng, device=context.device)
            upcoming = order if upcoming is None else torch.cat([upcoming, order])
        self._upcoming = upcoming[total:]
        return whole_batch.own(upcoming[:total], first=first)
