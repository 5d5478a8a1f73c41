"""Every kind of write on a disk that fills up at that moment, and the same command after room was made."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mergan.checkpoints import file as checkpoint
from mergan.system.errors import CheckpointError
from torture import victims
from torture.runs import SETTINGS, Outcome
from torture.strike import BALLAST, Blow

SIZE = "64m"
WRITES: dict[str, Blow] = {
    # a subset in this order is the short form for CI
    "metrics.csv, rewritten": Blow("write", r"/\.metrics\.csv\."),
    "last.ckpt": Blow("write", r"/\.?last\.ckpt", 3),
    "metrics.csv": Blow("append", r"/metrics\.csv", 2),
    "config.yaml": Blow("write", r"/\.?config\.yaml"),
    "first last.ckpt": Blow("write", r"/\.?last\.ckpt"),
    "task_00.ckpt": Blow("write", r"/\.?task_00\.ckpt"),
    "task_01.ckpt": Blow("write", r"/\.?task_01\.ckpt"),
    "samples": Blow("write", r"/samples/\.?task_01\.png"),
    "a matrix": Blow("write", r"/\.?accuracy_matrix\.csv", 2),
    "matrices.png": Blow("write", r"/\.?matrices\.png"),
    "TensorBoard, first": Blow("write", r"/events\.out\."),
    "TensorBoard, later": Blow("append", r"/events\.out\.", 2),
    "metrics.json": Blow("write", r"/\.?metrics\.json"),
    "images of the cache": Blow("write", r"/cache/.*train.*-images\.npy\..*tmp"),
    "labels of the cache": Blow("write", r"/cache/.*test.*-labels\.npy\..*tmp"),
    "the judge": Blow("write", r"/classifiers/.*tmp"),
}
FRESH = ("cache", "judge")  # writes that need an empty cache
MEASURED = [setting for setting in SETTINGS if setting.startswith("evaluation.")]
SMALL = {
    "samples.npz of mergan.sample": ("mergan.sample", "samples.npz", ["per_class=50"]),
    "figures of mergan.evaluate": ("mergan.evaluate", "figures.json", MEASURED),
}


def run(folder: Path, count: int, jobs: int) -> list[Outcome]:
    """Fill the disk at the first `count` kinds of writes."""
    reference = victims.reference(folder / "reference")
    chosen = [*WRITES, *SMALL][:count]
    kinds: set[str] = set()

    def one(name: str) -> list[str]:
        place = folder / str(chosen.index(name))
        with disk(place) as mounted:
            kinds.add("a full tmpfs" if mounted else "refused writes, since no disk may be mounted here")
            if name in SMALL:
                wrong = _small(*SMALL[name], place, reference, mounted)
            else:
                wrong = _training(name, place, reference, mounted)
            return victims.told("disk", name, wrong)

    with ThreadPoolExecutor(jobs) as threads:
        lost = {name: found for name, found in zip(chosen, threads.map(one, chosen), strict=True) if found}
    details = [f"{name}: {', '.join(found[:4])}" for name, found in lost.items()]
    return [Outcome("disk full", len(chosen), len(lost), "; ".join([*sorted(kinds), *details]))]


@contextmanager
def disk(place: Path) -> Iterator[bool]:
    """Mount a small disk at `place`, if this process may; yields whether it is one."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "torture", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def _blow(blow: Blow, place: Path, mounted: bool) -> Blow:
    return replace(blow, action="fill" if mounted else "refuse", disk=str(place))


def _training(name: str, place: Path, reference: Path, mounted: bool) -> list[str]:
    run, cache, logs = place / "run", place / "cache", place.with_name(f"{place.name}.logs")
    if not any(word in name for word in FRESH):
        shutil.copytree(reference.parent / "cache", cache)
    command = victims.train(run, cache, logs / "full", _blow(WRITES[name], place, mounted))
    status = command.wait()
    if mounted and not (place / BALLAST).is_file():
        return [f"the write never came, status {status}", *command.errors[-1:]]
    wrong = victims.one_line(command, status)
    last = run / "checkpoints" / "last.ckpt"
    if last.exists():
        try:
            checkpoint.read(last)
        except CheckpointError as error:
            wrong.append(str(error))
    (place / BALLAST).unlink(missing_ok=True)
    return [*wrong, *victims.gone_on(run, cache, reference, logs / "gone_on")]


def _small(module: str, out: str, more: list[str], place: Path, reference: Path, mounted: bool) -> list[str]:
    """A command that writes one file."""
    logs = place.with_name(f"{place.name}.logs")
    shutil.copytree(reference.parent / "cache", logs / "cache")  # beside the disk
    words = [
        "-m",
        module,
        f"checkpoint={reference / 'checkpoints' / 'last.ckpt'}",
        f"out={place / out}",
        *more,
    ]
    blow = _blow(Blow("write", rf"/\.?{out}"), place, mounted)
    command = victims.start(words, logs / "full", blow)
    wrong = victims.one_line(command, command.wait())
    if (place / out).exists():
        wrong.append(f"{out} is there, half written")
    (place / BALLAST).unlink(missing_ok=True)
    again = victims.start(words, logs / "again")
    status = again.wait()
    if status != 0 or not (place / out).is_file():
        wrong.append(f"again: status {status}: {''.join(again.errors[-1:])[:200]}")
    return [*wrong, *victims.left_behind(place)]
