"""Whether two run folders tell the same, to the bit; timings aside."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mergan.checkpoints import file as checkpoint

CLOCKS = ("train_seconds", "evaluation_seconds", "images_per_second")
TIMINGS = {*CLOCKS, *(f"final/{name}" for name in CLOCKS), "speed/images_per_second"}


def differences(folder: Path, reference: Path) -> list[str]:
    """What a run folder has otherwise than the reference, by name; empty if they are the same."""
    names = _files(folder) ^ _files(reference)
    found = [f"{name}: only in one of them" for name in sorted(names)]
    for path in sorted((reference / "checkpoints").glob("*.ckpt")):
        if not (folder / "checkpoints" / path.name).is_file():
            continue
        own, other = checkpoint.read(folder / "checkpoints" / path.name), checkpoint.read(path)
        for key in ("state_dict", "optimizer_states", "global_step", "epoch"):
            if not equal(own[key], other[key]):
                found.append(f"checkpoints/{path.name}: {key}")
        measured, expected = (part["callbacks"]["ContinualEvaluation"] for part in (own, other))
        found += [
            f"checkpoints/{path.name}: {key}"
            for key in ("matrices", "pooled")
            if measured[key] != expected[key]
        ]
    same = [*reference.glob("*_matrix.csv"), reference / "matrices.png", *reference.glob("samples/*.png")]
    for path in same:
        name = path.relative_to(reference)
        if (folder / name).is_file() and (folder / name).read_bytes() != path.read_bytes():
            found.append(str(name))
    if rows(folder) != rows(reference):
        found.append("metrics.csv")
    figures, expected = (json.loads((run / "metrics.json").read_text()) for run in (folder, reference))
    if untimed(figures) != untimed(expected):
        found.append("metrics.json")
    if event_steps(folder) != event_steps(reference):
        found.append("tensorboard")
    return found


def _files(folder: Path) -> set[str]:
    """Names of all files, TensorBoard's aside: every start writes one of its own."""
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in paths if path.parts[0] != "tensorboard"}


def untimed(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures without those that differ from one run to the next."""
    return {key: value for key, value in figures.items() if key not in TIMINGS}


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, without empty cells and timings."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [untimed({key: cell for key, cell in row.items() if cell}) for row in csv.DictReader(file)]


def event_steps(folder: Path) -> dict[str, list[int]]:
    """The steps of every scalar in a run's TensorBoard files, by tag."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def equal(first: Any, second: Any) -> bool:
    """Whether two nested structures of tensors and plain values are the same to the bit."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(equal(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)
