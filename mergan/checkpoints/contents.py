"""What every checkpoint must hold, key by key (pure Python)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from mergan.system.errors import CheckpointError
from mergan.system.version import VERSION

Value = TypeVar("Value")
KEY = "mergan"  # what this project adds to Lightning's checkpoint
FORMAT = 4
LAST_OF_FORMAT = {1: "0.1.0", 2: "0.2.0", 3: "0.3.0"}  # the last version that reads each earlier format
EVALUATION = "ContinualEvaluation"  # the callback whose state holds the matrices
COSTS = "CountedCosts"  # the callback whose state holds what the updates took; absent in files of version 0.4
PER_TASK = "per_task"  # its matrices with a column per task; absent in files of version 0.4
PROCESSES = "processes"  # how many trained the run; absent in files of version 0.4
MAX_STEPS = 2**53
MAX_VALUES = 30_000  # of a configuration: room for the order of any data set's classes, and read in seconds
TRAINED, AVERAGED = "generator.", "ema.module."  # prefixes of the generator in the state dict
STRATEGY = "strategy."  # prefix of the strategy


def check(content: Any) -> None:
    """Refuse content that is not a checkpoint of this project in the current format.

    mergan.checkpoints.fitting checks whether the tensors fit the networks.

    Args:
        content: plain values and tensors.

    Raises:
        CheckpointError: the message names what is missing or of another type.
    """
    own = content.get(KEY) if isinstance(content, Mapping) else None
    if not isinstance(own, Mapping) or "state_dict" not in content:
        raise CheckpointError("not a checkpoint that mergan wrote")
    _check_format(own)
    _check_own(own)
    _number(content, "epoch", 0)
    _number(content, "global_step", 1)
    _table(content, "state_dict", str)
    for key, value in content["state_dict"].items():
        _require(hasattr(value, "dtype"), f"state_dict.{key}", "not a tensor")
    callbacks = _table(content, "callbacks", str)
    _check_evaluation(_table(callbacks, EVALUATION, str), len(own["class_names"]))
    if COSTS in callbacks:
        _check_costs(_table(callbacks, COSTS, str))
    states = content.get("optimizer_states")
    _require(
        isinstance(states, list) and all(isinstance(state, Mapping) for state in states), "optimizer_states"
    )


def _check_format(own: Mapping[str, Any]) -> None:
    found = own.get("format")
    if type(found) is int and found == FORMAT:
        return
    reader = LAST_OF_FORMAT.get(found) if isinstance(found, int) else None
    remedy = f"mergan {reader} reads it" if reader else "a later version may read it"
    named = found if isinstance(found, (int, str)) else type(found).__name__
    raise CheckpointError(f"written in format {named}; mergan {VERSION} reads format {FORMAT}, {remedy}")


def _check_own(own: Mapping[str, Any]) -> None:
    _require(isinstance(own.get("version"), str), "version")
    cfg = _table(own, "config", str)
    _require(bool(cfg), "config")
    _require(num_values(cfg) <= MAX_VALUES, "config", f"of more than {MAX_VALUES} values")
    for key, text in _table(own, "links", str).items():
        _require(isinstance(text, str), f"links.{key}")
    names = own.get("class_names")
    _require(
        isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names),
        "class_names",
    )
    _require(len(set(names)) == len(names), "class_names", "not all different")  # type: ignore[arg-type]
    for key in ("seen", "known"):
        labels = own.get(key)
        whole = isinstance(labels, list) and all(type(label) is int for label in labels)
        _require(whole and all(0 <= label < len(names) for label in labels), key)  # type: ignore[arg-type,union-attr]
        _require(len(set(labels)) == len(labels), key, "not all different")  # type: ignore[arg-type]
    _require(bool(own["seen"]), "seen", "empty")
    data = _table(own, "data", str)
    _require(list(data) == names, "data", "not of these classes")
    for name, described in data.items():
        _require(isinstance(described, Mapping), f"data.{name}")
        for count in ("train", "test"):
            _number(described, count, 0, f"data.{name}.")
        _require(isinstance(described.get("identity"), str), f"data.{name}.identity")
    _number(own, "threads", 1)
    if PROCESSES in own:
        _number(own, PROCESSES, 1)


def _check_evaluation(state: Mapping[str, Any], classes: int) -> None:
    where = f"callbacks.{EVALUATION}"
    matrices, pooled = _table(state, "matrices", str, f"{where}."), state.get("pooled")
    _require("accuracy" in matrices, f"{where}.matrices.accuracy")
    _require(isinstance(pooled, list), f"{where}.pooled")
    for row in pooled:  # type: ignore[union-attr]
        _require(_is_row(row, str), f"{where}.pooled")
    for name, rows in matrices.items():
        _require(isinstance(rows, list) and len(rows) == len(pooled), f"{where}.matrices.{name}")  # type: ignore[arg-type]
        for row in rows:
            labelled = _is_row(row, int) and all(0 <= label < classes for label in row)
            _require(labelled, f"{where}.matrices.{name}")
    if PER_TASK in state:
        for name, rows in _table(state, PER_TASK, str, f"{where}.").items():
            whole = isinstance(rows, list) and len(rows) == len(pooled)  # type: ignore[arg-type]
            _require(whole and all(_is_row(row, int) for row in rows), f"{where}.{PER_TASK}.{name}")
    for clock in ("train_seconds", "evaluation_seconds"):
        value = state.get(clock)
        _require(type(value) in (int, float) and value >= 0, f"{where}.{clock}")  # type: ignore[operator]


def _check_costs(state: Mapping[str, Any]) -> None:
    where = f"callbacks.{COSTS}"
    for name in ("updates", "images"):
        for key, count in _table(state, name, str, f"{where}.").items():
            _require(type(count) is int and 0 <= count <= MAX_STEPS, f"{where}.{name}.{key}")


def num_values(value: Any) -> int:
    """The number of values in nested mappings and lists, each of which counts too."""
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return 1
    return 1 + sum(map(num_values, value))


def _is_row(row: Any, key: type) -> bool:
    return isinstance(row, Mapping) and all(
        type(label) is key and type(value) in (int, float) for label, value in row.items()
    )


def _table(content: Mapping[str, Any], key: str, of: type, prefix: str = "") -> Mapping[str, Any]:
    """The dict at a key; all its keys must be of one type."""
    value = content.get(key)
    _require(isinstance(value, Mapping) and all(type(name) is of for name in value), f"{prefix}{key}")
    return value  # type: ignore[return-value]


def _number(content: Mapping[str, Any], key: str, least: int, prefix: str = "") -> None:
    value = content.get(key)
    _require(type(value) is int and least <= value <= MAX_STEPS, f"{prefix}{key}")  # type: ignore[operator]


def _require(holds: bool, key: str, wrong: str = "missing or of another type") -> None:
    if not holds:
        raise CheckpointError(f"not as mergan writes it: {key} is {wrong}")


def below(state: Mapping[str, Value], prefix: str) -> dict[str, Value]:
    """The part of a state dict that belongs to the submodule of that prefix."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
