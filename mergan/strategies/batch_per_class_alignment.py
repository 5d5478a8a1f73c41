"""Replay alignment with a whole batch per past class, as on LSUN in the code of Memory Replay GANs."""

from __future__ import annotations

from torch import Tensor

from mergan.strategies.context import Context
from mergan.strategies.replay_alignment import ReplayAlignment


class BatchPerClassAlignment(ReplayAlignment):
    """ReplayAlignment on N images of each of the K past classes, where N is `batch_size`.

    The means of the classes are added, so the loss and the work of a step grow with K. With `weight` =
    lambda * N * P / 2, this is exactly what the paper's code does on LSUN,

        lambda * sum over past classes of sum(squares) / 2,

    for P values per image. On MNIST and SVHN it does what ClasswiseAlignment does.

    The arguments are those of ReplayAlignment.
    """

    def aligned_labels(self, context: Context, count: int) -> Tensor:
        past = context.task.past
        return context.each_label(past, count * len(past))

    def mean(self, errors: Tensor, count: int) -> Tensor:
        return errors.sum() / count
