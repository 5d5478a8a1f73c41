"""1: images per second of a whole fit of V2's network, over those of the plain loop."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.fits import FIRST_LOG, Fit
from benchmarks.measure import Figure, alternate
from mergan import config

PRECISIONS = {"fp32": ("32-true", ">= 2.5"), "bf16": ("bf16-mixed", ">= 5")}  # the argument, the target
STREAM = ("experiment=v2_online_2", "data=mnist_5k", "callbacks.progress.bar=true", "epochs=1")


def run(cache_dir: Path, steps: int = 400, rounds: int = 3, width: int = 64) -> list[Figure]:
    """Both precisions, against the plain loop in fp32, each in a process or a fit of its own.

    Args:
        cache_dir: for decoded images.
        steps: of a fit, in two tasks of one epoch (V2's own epochs have 375), timed from the first logged
            one on; the plain loop, which has no ends of epochs, does fewer.
        rounds: measurements of each side.
        width: of the generator.
    """
    size = (f"network.generator.width={width}", f"steps_per_epoch={max(1, steps // 2)}")
    skip = min(FIRST_LOG, steps // 2)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        Fit((*STREAM, *size), cache_dir).save_images(images)
        for name, (precision, target) in PRECISIONS.items():
            overrides = (*STREAM, *size, f"trainer.precision={precision}")
            pairs = alternate(
                lambda: plain(images, width, min(steps, 40)),
                lambda overrides=overrides: Fit(overrides, cache_dir).run(skip),  # type: ignore[misc]
                rounds,
            )
            title = f"images/s over the plain loop, {name}"
            figures.append(pairs.ratio(title, target, unit="seconds per step: plain, mergan"))
    return figures


def plain(images: Path, width: int, steps: int, device: str = "cpu") -> float:
    """Seconds per step of the plain loop, in a process of its own."""
    arguments = [str(images), str(width), str(steps), str(torch.get_num_threads()), device]
    command = [sys.executable, "-m", "benchmarks.plain_v2", *arguments]
    done = subprocess.run(command, cwd=config.CONF.parent, capture_output=True, text=True, check=True)
    return float(done.stdout)
