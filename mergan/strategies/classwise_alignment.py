"""Replay alignment with a small batch per past class, as in the code of Memory Replay GANs."""

from __future__ import annotations

from torch import Tensor

from mergan.strategies.context import Context
from mergan.strategies.replay_alignment import ReplayAlignment


class ClasswiseAlignment(ReplayAlignment):
    """ReplayAlignment on N // K images of each of the K past classes, where N is `batch_size`.

    The squared errors are summed and divided by N, also where N // K images of each class are fewer than N
    together. With `weight` = lambda * N * P / 2 and `divide_by_classes`, this is exactly the paper's code,

        lambda / K * sum over past classes of sum(squares) / 2,

    for P values per image; ReplayAlignment draws the classes at random and divides by what was drawn.

    The arguments are those of ReplayAlignment.
    """

    def aligned_labels(self, context: Context, count: int) -> Tensor:
        return context.each_label(context.task.past, count)

    def mean(self, errors: Tensor, count: int) -> Tensor:
        return errors.sum() / count
