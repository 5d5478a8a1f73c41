"""7: what running the jobs of a sweep side by side gains."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Figure, alternate
from mergan import config

ROOT = config.CONF.parent
PARALLEL = ("hydra/launcher=parallel", "hydra.launcher.n_jobs=2")
SMOKE = ("debug=smoke", "sweep=v2_grid", "strategy=finetune,joint_retrain")  # 108 jobs
DEFAULT = ("seed=0,1",)


def run(cache: Path, folder: Path, rounds: int = 1) -> list[Figure]:
    """Two default runs and 108 smoke runs, one after another and side by side; one thread per job.

    The speed of a virtual machine varies by a tenth from minute to minute, and the first ratio is close to
    its target. So it is the ratio of medians of three times as many rounds.
    """
    seconds = Sweeps(cache, folder)
    seconds(("debug=smoke", "seed=0"))
    seconds(("seed=0", "epochs=1", "steps_per_epoch=1"))  # which fill the caches
    default = alternate(lambda: seconds(DEFAULT), lambda: seconds((*DEFAULT, *PARALLEL)), 3 * rounds)
    smoke = alternate(lambda: seconds((*SMOKE, *PARALLEL)), lambda: seconds(SMOKE), rounds)
    return [
        default.ratio("two default runs: throughput side by side over one after another", ">= 1.85"),
        smoke.ratio("108 smoke jobs: time side by side over one after another", "<= 0.6"),
    ]


class Sweeps:
    """Runs sweeps, each in a folder of its own; calling it returns the seconds that one took."""

    def __init__(self, cache: Path, folder: Path) -> None:
        self._cache, self._folder, self._count = cache, folder, 0

    def __call__(self, words: Sequence[str]) -> float:
        self._count += 1
        own = [f"hydra.sweep.dir={self._folder / f'sweep_{self._count}'}", f"cache_dir={self._cache}"]
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, str(ROOT / "train.py"), "-m", *words, *own],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - begun
