"""2: what the framework costs beside the optimisation steps themselves."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks import minimal_lightning
from benchmarks.bare_loop import BareLoop
from benchmarks.fits import FIRST_LOG, ONE_TASK, Fit
from benchmarks.measure import Figure, alternate
from mergan.data import normalise

TINY = (
    "network.generator.width=2",
    "network.discriminator.width=2",
    "batch_size=8",
    "embedding_dim=8",
    "acgan.ema=null",
    "objective.mode_seeking=0",
    "objective.r1=0",
    "strategy=finetune",
)


EPOCHS = 5  # of a task by default


def run(cache_dir: Path, steps: int = 500, rounds: int = 5) -> list[Figure]:
    """At the default network against a bare loop; at a tiny one against a minimal Lightning loop.

    A task of the default stream, from the first logged step on. The cost is small beside the wavering of
    many machines, so that the large network is measured twice as often as asked for.
    """
    stream = (ONE_TASK, f"epochs={EPOCHS}", f"steps_per_epoch={steps // EPOCHS}")
    skip = min(FIRST_LOG, steps // 2)

    def tiny() -> Fit:
        return Fit((*stream, *TINY), cache_dir)

    def minimal() -> float:
        fit = tiny()
        real = fit.data.real_set
        images, labels = torch.tensor(real.images), torch.tensor(real.labels)
        module = minimal_lightning.MinimalGAN(fit.module.generator, fit.module.discriminator, 8, 10)
        return minimal_lightning.run(module, normalise(images), labels, 8, steps)

    default = alternate(
        lambda: Fit(stream, cache_dir).run(skip),
        lambda: BareLoop(Fit(stream, cache_dir)).run(steps, skip),
        2 * rounds,
    )
    small = alternate(lambda: tiny().run(skip), minimal, rounds)
    return [
        default.ratio("default fit over the same steps in a bare loop", "<= 1.03"),
        small.ratio("tiny network over a minimal Lightning loop", "<= 1.5"),
    ]
