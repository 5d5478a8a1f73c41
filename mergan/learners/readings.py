"""Scalars of a step, read back from the device once for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mergan.system.errors import TrainingError

Terms = dict[str, Tensor]  # scalars of a step, by the names they are logged under


def read_back(terms: Mapping[str, Tensor], place: str) -> dict[str, float]:
    """The values of scalars, in one transfer.

    Args:
        terms: by name.
        place: where in the training they come from, for messages.

    Raises:
        TrainingError: one is NaN or infinite.
    """
    values = torch.stack([value.detach().float() for value in terms.values()]).tolist()
    for name, value in zip(terms, values, strict=True):
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} in {place}: try a lower lr, or recovery.attempts=3, which lowers it"
            )
    return dict(zip(terms, values, strict=True))


def gradient_norm(networks: Iterable[nn.Module]) -> Tensor:
    """Euclidean norm of the gradients of all parameters together."""
    weights = (weight for network in networks for weight in network.parameters())
    return torch.stack([weight.grad.norm() for weight in weights if weight.grad is not None]).norm()


def class_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the rows of logits (B, num_classes) whose largest entry is that of labels (B,)."""
    return (logits.detach().argmax(dim=1) == labels).float().mean()
