"""2: what the framework costs beside the optimisation steps themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from benchmarks import minimal_lightning
from benchmarks.bare_loop import BareLoop
from benchmarks.fits import FIRST_LOG, ONE_TASK, Fit
from benchmarks.measure import Figure, Pairs, alternate
from mergan.data import normalise

TINY = (
    "network.generator.width=2",
    "network.discriminator.width=2",
    "batch_size=8",
    "embedding_dim=8",
    "learner.ema=null",
    "objective.mode_seeking=0",
    "objective.r1=0",
    "strategy=finetune",
)


EPOCHS = 5  # of a task by default


class StepsBeside(pl.Callback):
    """Takes another step after every step of the fit, so that a machine that wavers slows both.

    Args:
        step: takes it; returns its seconds.

    Attributes:
        seconds: what each of these steps took.
        away: the seconds of the fit that all of them took, waiting included.
    """

    def __init__(self, step: Callable[[], float]) -> None:
        self.step = step
        self.seconds: list[float] = []
        self.away: list[float] = []

    def on_train_batch_end(self, *unused: Any) -> None:
        begun = time.perf_counter()
        self.seconds.append(self.step())
        self.away.append(time.perf_counter() - begun)


def fit_beside(
    step: Callable[[], float], stream: Sequence[str], cache_dir: Path, skip: int
) -> tuple[float, float]:
    """Seconds per step of a fit and of the steps beside it, after the first `skip`."""
    beside = StepsBeside(step)
    both = Fit(stream, cache_dir, [beside]).run(skip)
    steps = len(beside.seconds) - skip
    # the fit's clock runs on during the step that follows the last one skipped
    fit = both - sum(beside.away[skip - 1 :]) / steps
    return fit, sum(beside.seconds[skip:]) / steps


def step_of(loop: BareLoop) -> Callable[[], float]:
    """A step of the loop, which returns its seconds, fetching the batch included."""
    batches = loop.batches()
    loop.learner.train()

    def step() -> float:
        begun = time.perf_counter()
        loop.step(*next(batches))
        return time.perf_counter() - begun

    return step


def run(cache_dir: Path, steps: int = 500, rounds: int = 5) -> list[Figure]:
    """At the default network against a bare loop; at a tiny one against a minimal Lightning loop.

    A task of the default stream, from the first logged step on.
    """
    stream = (ONE_TASK, f"epochs={EPOCHS}", f"steps_per_epoch={steps // EPOCHS}")
    skip = min(FIRST_LOG, steps // 2)

    def tiny() -> Fit:
        return Fit((*stream, *TINY), cache_dir)

    def minimal() -> float:
        fit = tiny()
        real = fit.pool.real_set
        images, labels = torch.tensor(real.images), torch.tensor(real.labels)
        module = minimal_lightning.MinimalGAN(fit.learner.generator, fit.learner.discriminator, 8, 10)
        return minimal_lightning.run(module, normalise(images), labels, 8, steps)

    measured = [
        fit_beside(step_of(BareLoop(Fit(stream, cache_dir))), stream, cache_dir, skip) for _ in range(rounds)
    ]
    default = Pairs([fit for fit, _ in measured], [bare for _, bare in measured])
    small = alternate(lambda: tiny().run(skip), minimal, rounds)
    return [
        default.ratio("default fit over the same steps in a bare loop", "<= 1.03"),
        small.ratio("tiny network over a minimal Lightning loop", "<= 1.5"),
    ]
