"""6: time to quality: whole runs, until the pictures of every class are good by all measures."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import reference
from benchmarks.fits import Fit
from benchmarks.measure import Figure, seconds
from benchmarks.plain_v2 import BATCH
from mergan import config
from mergan.output.folder import RunFolder
from mergan.output.reading import read_figures

RECIPE = ("experiment=mnist_fast",)
LEAST = {"accuracy": 0.985, "reverse_accuracy": 0.94, "coverage": 0.65}  # in metrics.json
DIGITS = 60_000  # training images of MNIST


def run(
    cache_dir: Path, overrides: Sequence[str], runs: int = 3, steps: int = 40, width: int = 64
) -> list[Figure]:
    """Seconds of training with seeds 0, 1 and 2, also as passes of a plain loop over MNIST.

    The plain loop is that of MeRGAN-V2 (reference.py), measured after each run.

    Args:
        cache_dir: for decoded images.
        overrides: further ones of the recipe, e.g. data.root=FOLDER.
        runs: how many seeds.
        steps: of the plain loop.
        width: of its generator.
    """
    trained, passes = [], []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        Fit(reference.STREAM, cache_dir).save_images(images)
        for seed in range(runs):
            trained.append(
                _figures_of((*RECIPE, *overrides, f"seed={seed}"), cache_dir, Path(folder) / str(seed))
            )
            plain = reference.plain(images, width, steps) / BATCH
            passes.append(trained[-1]["train_seconds"] / plain / DIGITS)
    kept = {key: [figures[key] for figures in trained] for key in LEAST}
    good = sum(all(figures[key] >= value for key, value in LEAST.items()) for figures in trained)
    wanted = ", ".join(f"{key} {value:g}" for key, value in LEAST.items())
    times = [figures["train_seconds"] for figures in trained]
    return [
        seconds("MNIST in ten tasks, training", "<= 360", times),
        Figure(f"... reaches {wanted}", f">= {runs}", good, good, good, f"of {runs} runs", kept),
        Figure("... in passes of V2's plain loop over MNIST", "", statistics.median(passes),
               min(passes), max(passes), "passes"),
    ]  # fmt: skip


def _figures_of(overrides: Sequence[str], cache_dir: Path, folder: Path) -> dict[str, Any]:
    """metrics.json of a run in a process of its own, with as many threads as this one."""
    command = [sys.executable, "train.py", *overrides, f"cache_dir={cache_dir}", f"hydra.run.dir={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(command, cwd=config.CONF.parent, env=environment, stdout=subprocess.DEVNULL, check=True)
    return read_figures(RunFolder(folder).figures)
