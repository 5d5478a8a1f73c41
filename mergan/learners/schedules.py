"""Learning-rate schedules: a factor on the base rate as a function of the progress within a task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal


def constant(progress: float) -> float:
    """No change."""
    return 1.0


def linear(progress: float) -> float:
    """Linear from 1 at the start of the task (progress 0) to 0 at its end (progress 1)."""
    return 1.0 - progress


def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""
    return (1 + math.cos(math.pi * progress)) / 2


def cooldown(progress: float) -> float:
    """1 for the first half, then linear to 0 (the shape of Hägele et al. 2024, arXiv 2405.18392).

    A continual generator also benefits because the snapshot does not pass on the noise of the last steps.
    """
    return min(1.0, 2 * (1 - progress))


Schedule = Literal["constant", "linear", "cosine", "cooldown"]
SCHEDULES: dict[Schedule, Callable[[float], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "cooldown": cooldown,
}
