"""Pictures beyond memory: speed and memory of a run that reads them from the cache file as it goes.

Memory is the anonymous memory of the process: what it has allocated. The pages of a mapped file count as
resident memory too, but the system takes them back whenever something else needs the room.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.fits import ONE_TASK, Fit, compose
from benchmarks.measure import Figure, Pairs, alternate
from mergan import config
from mergan.data import cache, normalise
from mergan.data.loader import TaskLoader
from mergan.data.pool import ImagePool
from mergan.data.source import Split
from mergan.data.synthetic import Synthetic
from mergan.run.build import build_pool

SIDE, CLASSES, BATCH = 64, 10, 64
FEWEST = 100  # evaluation images of a class: some whole batches of the judge
LOADED = 30_000  # images of a measurement of the loader alone
LIMITS: Mapping[str, int] = {"streamed": 0, "in memory": sys.maxsize}  # bytes that are read into memory


class Noise(Synthetic):
    """Pictures without meaning, made as fast as they are written: a brightness per class, and noise."""

    def fingerprint(self) -> str:
        return f"noise, {super().fingerprint()}"

    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self._seed, split == "test"])
        for start in range(0, self.size(split), 500):
            labels = np.arange(start, min(start + 500, self.size(split)), dtype=np.int64) % self.num_classes
            shape = (len(labels), self.channels, image_size, image_size)
            shades = (labels * 128 // self.num_classes).astype(np.uint8)
            yield rng.integers(0, 128, shape, dtype=np.uint8) + shades[:, None, None, None], labels


@dataclass
class Measured:
    """What a process has found.

    Attributes:
        loader: images per second of the loader alone, as floats; the file is not in the page cache.
        step: seconds of a step of training, likewise.
        peaks: the most anonymous memory in MiB of each stage.
    """

    loader: float
    step: float
    peaks: dict[str, float]


def run(cache_dir: Path, images: int = 100_000, steps: int = 40, rounds: int = 3) -> list[Figure]:
    """Streamed against in memory, each in a process of its own; and streamed with a tenth of the images."""
    if not sys.platform.startswith("linux"):
        print("streaming: left out, only Linux tells the anonymous memory of a process", file=sys.stderr)
        return []
    sides: dict[str, list[Measured]] = {kind: [] for kind in LIMITS}

    def step(kind: str) -> float:
        sides[kind].append(measure(kind, cache_dir, images, steps))
        return sides[kind][-1].step

    pairs = alternate(lambda: step("in memory"), lambda: step("streamed"), rounds)
    few, streamed = measure("streamed", cache_dir, images // 10, steps), sides["streamed"]
    rates = Pairs([one.loader for one in streamed], [one.loader for one in sides["in memory"]])
    title = f"{images:,} pictures of {SIDE}x{SIDE}"
    stages = {f"{kind}, MiB": [one.peaks for one in side] for kind, side in sides.items()}
    return [
        pairs.ratio(f"training, streamed over in memory: {title}", ">= 0.9", unit="seconds per step"),
        rates.ratio(f"loader alone, streamed over in memory: {title}", "", unit="images/s"),
        _growth(few, streamed, images, stages),
    ]


def _growth(few: Measured, many: list[Measured], images: int, details: dict[str, Any]) -> Figure:
    """What the further pictures add to the peak of anonymous memory, in percent of their bytes."""
    size = (images - images // 10) * 3 * SIDE**2 / 2**20
    least = max(few.peaks.values())
    shares = [100 * (max(one.peaks.values()) - least) / size for one in many]
    name = f"anonymous memory that {images:,} streamed pictures take beyond {images // 10:,}, of their bytes"
    return Figure(name, "<= 10", statistics.median(shares), min(shares), max(shares), "%", details)


def measure(kind: str, cache_dir: Path, images: int, steps: int, *overrides: str) -> Measured:
    """Measure in a process of its own; see `main`."""
    words = [kind, str(cache_dir), str(images), str(steps), str(torch.get_num_threads()), *overrides]
    command = [sys.executable, "-m", "benchmarks.streaming", *words]
    done = subprocess.run(command, cwd=config.CONF.parent, capture_output=True, text=True, check=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def anonymous() -> float:
    """Anonymous memory of this process in MiB. Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith("RssAnon"))
    return float(line.split()[1]) / 1024  # in kB


@contextmanager
def stage(name: str, peaks: dict[str, float]) -> Iterator[None]:
    """Note the most anonymous memory within the block; a thread looks every five milliseconds."""
    ended = threading.Event()
    peaks[name] = anonymous()

    def look() -> None:
        while not ended.wait(0.005):
            peaks[name] = max(peaks[name], anonymous())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def forget(cache_dir: Path) -> None:
    """Take the files of the cache out of the page cache, as if they were too large for it.

    Files that are mapped stay there.
    """
    gc.collect()
    for path in cache_dir.glob("*.npy"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def loader_rate(pool: ImagePool, images: int) -> float:
    """Images per second that the loader delivers, as float tensors in [-1, 1]."""
    loader = TaskLoader(
        pool.real_set, range(CLASSES), real_per_step=BATCH, num_steps=max(1, images // BATCH), seed=0, epoch=0
    )
    begun, seen = time.perf_counter(), 0
    for batch, _ in loader:
        seen += len(normalise(batch))
    return seen / (time.perf_counter() - begun)


def main(kind: str, cache_dir: str, images: str, steps: str, threads: str, *overrides: str) -> None:
    """Build the cache if it is missing, load, train one task and evaluate; prints a Measured as JSON."""
    logging.disable()
    torch.set_num_threads(int(threads))
    cache.MEMORY_LIMIT = LIMITS[kind]
    settings = (
        "data=synthetic",
        "data.source._target_=benchmarks.streaming.Noise",
        f"data.source.train_per_class={int(images) // CLASSES}",
        f"data.source.test_per_class={max(FEWEST, int(images) // CLASSES // 10)}",
        f"data.image_size={SIDE}",
        "data.channels=3",
        ONE_TASK,
        "epochs=1",
        f"steps_per_epoch={steps}",
        "callbacks.progress.bar=false",
        "logger.tensorboard=null",
        *overrides,
    )
    folder, peaks = Path(cache_dir), dict[str, float]()
    with stage("caching", peaks):
        pool = build_pool(config.typed(compose(*settings, f"cache_dir={cache_dir}")))
        seen = len(pool.real_set)
    forget(folder)
    with stage("loading", peaks):
        rate = loader_rate(pool, min(seen, LOADED))
    del pool
    forget(folder)
    with stage("building", peaks):  # trains the judge
        fit = Fit(settings, folder)
    with stage("training", peaks):
        seconds = fit.run(skip=min(5, int(steps) - 1))
    with stage("evaluation", peaks):
        fit.experiment.evaluator.judge_accuracy(range(CLASSES))
    print(json.dumps({"loader": rate, "step": seconds, "peaks": peaks}))


if __name__ == "__main__":
    main(*sys.argv[1:])
