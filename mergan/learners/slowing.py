"""Weights that learn more slowly than the others of their optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def slowed(step: Callable[[], Any], weights: Sequence[Tensor], rate: float) -> Callable[[], None]:
    """A step of an optimizer that takes some of its weights only a part of the way.

    With an optimizer whose steps are proportional to the learning rate, as Adam's, this equals a rate of
    their own. It leaves the groups of the optimizer, and so its saved state, as they are.

    Args:
        step: takes the whole step.
        weights: the slow ones.
        rate: part of the way, in [0, 1]; 0 holds them.
    """

    def slow() -> None:
        before = [weight.detach().clone() for weight in weights]
        step()
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.lerp_(old, 1 - rate)

    return slow
