"""Runs that are killed at chosen points: inside each kind of write, and between two of them."""

from __future__ import annotations

import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torture import victims
from torture.runs import Outcome
from torture.strike import Blow

POINTS: dict[str, Blow] = {
    # a subset in this order is the short form for CI
    "final figures logged, metrics.json not begun": Blow("write", r"/\.metrics\.json\."),
    "last.ckpt half written": Blow("rename", r"/last\.ckpt$", 3, action="half"),
    "metrics.csv, a row half appended": Blow("append", r"/metrics\.csv$", 2, action="tear"),
    "the judge half written": Blow("rename", r"/classifiers/", action="half"),
    "the lock just taken": Blow("lock", r"run/\.lock$", after=True),
    "config.yaml not yet renamed": Blow("rename", r"/config\.yaml$"),
    "first last.ckpt not yet renamed": Blow("rename", r"/last\.ckpt$"),
    "task_00.ckpt not yet renamed": Blow("rename", r"/task_00\.ckpt$"),
    "between task_00.ckpt and last.ckpt": Blow("rename", r"/task_00\.ckpt$", after=True),
    "between task_01.ckpt and last.ckpt": Blow("rename", r"/task_01\.ckpt$", after=True),
    "the last last.ckpt just renamed": Blow("rename", r"/last\.ckpt$", 4, after=True),
    "samples half written": Blow("rename", r"/samples/task_01\.png$", action="half"),
    "samples just opened": Blow("write", r"/samples/\.?task_00\.png", after=True),
    "a matrix half written": Blow("rename", r"/accuracy_matrix\.csv$", 2, action="half"),
    "matrices.png half written": Blow("rename", r"/matrices\.png$", action="half"),
    "metrics.csv, rewriting half done": Blow("rename", r"/metrics\.csv$", action="half"),
    "TensorBoard, a record half flushed": Blow("append", r"/events\.out\.", 2, action="tear"),
    "TensorBoard, the first file just opened": Blow("write", r"/events\.out\.", after=True),
    "metrics.json half written": Blow("rename", r"/metrics\.json$", action="half"),
    "metrics.json just renamed": Blow("rename", r"/metrics\.json$", after=True),
    "images of the cache being decoded": Blow("write", r"/cache/.*train.*-images\.npy", after=True),
    "images of the cache half written": Blow("rename", r"/cache/.*train.*-images\.npy$", action="half"),
    "labels of the cache half written": Blow("rename", r"/cache/.*test.*-labels\.npy$", action="half"),
    "the judge in training": Blow("lock", r"/classifiers/.*\.lock$", after=True),
}
FRESH = ("cache", "judge")  # points that need an empty cache


def run(folder: Path, count: int, jobs: int) -> list[Outcome]:
    """Kill a run at the first `count` points, and let the same command go on."""
    reference = victims.reference(folder / "reference")
    chosen = list(POINTS)[:count]

    def one(name: str) -> list[str]:
        place = folder / str(chosen.index(name))
        return victims.told("points", name, _killed(POINTS[name], place, reference, name))

    with ThreadPoolExecutor(jobs) as threads:
        lost = {name: found for name, found in zip(chosen, threads.map(one, chosen), strict=True) if found}
    details = "; ".join(f"{name}: {', '.join(found[:4])}" for name, found in lost.items())
    return [Outcome("SIGKILL at chosen points", len(chosen), len(lost), details)]


def _killed(blow: Blow, folder: Path, reference: Path, name: str) -> list[str]:
    run, cache = folder / "run", folder / "cache"
    if not any(word in name for word in FRESH):
        shutil.copytree(reference.parent / "cache", cache)
    command = victims.train(run, cache, folder / "killed", blow)
    status = command.wait()
    if status != -signal.SIGKILL:
        return [f"the point was never reached, status {status}", *command.errors[-1:]]
    return victims.gone_on(run, cache, reference, folder / "gone_on")
