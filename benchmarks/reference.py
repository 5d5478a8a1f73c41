"""1: images per second of a whole fit of V2's network, over those of the plain loop."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.fits import Fit
from benchmarks.measure import Figure, alternate
from benchmarks.plain_v2 import PlainLoop

STREAM = ("experiment=v2_online_2", "data=mnist_5k", "callbacks.progress.bar=true", "epochs=2")


def run(cache_dir: Path, steps: int = 30, rounds: int = 5, width: int = 64) -> list[Figure]:
    """Both precisions, against the plain loop in fp32.

    Args:
        cache_dir: for decoded images.
        steps: of a measurement.
        rounds: measurements of each side.
        width: of the generator.
    """
    size = (f"network.generator.width={width}", f"steps_per_epoch={max(1, steps // 4)}")
    figures = []
    for precision, target in (("32-true", ">= 2.5"), ("bf16-mixed", ">= 5")):
        overrides = (*STREAM, *size, f"trainer.precision={precision}")
        real = Fit(overrides, cache_dir).data.real_set
        plain = PlainLoop(torch.tensor(real.images), torch.tensor(real.labels), width)
        pairs = alternate(
            lambda plain=plain: plain.run(steps),  # type: ignore[misc]
            lambda overrides=overrides: Fit(overrides, cache_dir).run(),  # type: ignore[misc]
            rounds,
        )
        name = f"images/s over the plain loop, {precision.split('-')[0]}"
        figures.append(pairs.ratio(name, target, unit="seconds per step: plain, mergan"))
    return figures
