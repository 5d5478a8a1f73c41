"""Scalars of a step, all read back from the device at once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mergan.system import whole_batch
from mergan.system.errors import TrainingError

Terms = dict[str, Tensor]  # scalars of a step, by the names they are logged under


class Pace:
    """How fast the training is between two readings; the time between two epochs does not count."""

    def begin(self, step: int) -> None:
        """Start the clock of an epoch, before the step of that number."""
        self._since, self._step = time.perf_counter(), step

    def steps_per_second(self, step: int) -> float:
        """The steps since the last reading, or since the epoch began, in a second.

        The steps must be done: the caller has just read their losses back.
        """
        now = time.perf_counter()
        pace = (step - self._step) / max(now - self._since, 1e-9)
        self.begin(step)
        return pace


def read_back(terms: Mapping[str, Tensor], place: str) -> dict[str, float]:
    """Read scalars back from the device in one transfer; several processes get the means of theirs.

    Args:
        terms: scalars by name.
        place: the point in the training, for error messages.

    Raises:
        TrainingError: a value is NaN or infinite.
    """
    own = torch.stack([value.detach().float() for value in terms.values()])
    values = whole_batch.mean(own).tolist()
    for name, value in zip(terms, values, strict=True):
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} in {place}: try a lower lr, or recovery.attempts=3, which lowers it"
            )
    return dict(zip(terms, values, strict=True))


def gradient_norm(networks: Iterable[nn.Module]) -> Tensor:
    """Euclidean norm of the gradient over all parameters."""
    weights = (weight for network in networks for weight in network.parameters())
    return torch.stack([weight.grad.norm() for weight in weights if weight.grad is not None]).norm()


def class_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the samples whose largest logit (B, num_classes) is at the label (B,)."""
    return (logits.detach().argmax(dim=1) == labels).float().mean()
