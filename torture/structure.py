"""Alterations of what a checkpoint holds: keys that are missing, values of other types, shapes, numbers."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from torture.sandbox import Sandbox

Keys = tuple[Any, ...]
Content = dict[str, Any]


@dataclass(frozen=True)
class Alteration:
    """One altered checkpoint.

    Attributes:
        kind, name: what is altered, and how; together they are unique.
        make: from the content of a whole checkpoint (its own copy) and the world it is tried in to the
            content, or the bytes, of the altered one.
        refused: nothing else will do; of others status 0 is right too, if nothing untoward happens.
        word: what the refusal must name.
    """

    kind: str
    name: str
    make: Callable[[Content, Sandbox], Content | bytes]
    refused: bool = False
    word: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


OTHERS: dict[str, Any] = {
    "None": None,
    "0": 0,
    "an int": 7,
    "a negative": -1,
    "10**30": 10**30,
    "NaN": math.nan,
    "infinity": math.inf,
    "True": True,
    "a word": "abc",
    "empty text": "",
    "a million letters": "x" * 10**6,
    "an empty list": [],
    "a list": [1, "a", None],
    "an empty dict": {},
    "a dict": {"a": 1, 2: "b"},
    "a tuple": (1, 2),
    "a set": {1, 2},
    "bytes": b"abc",
    "a tensor": torch.arange(3),
    "a complex number": complex(1, 2),
}
TENSORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "one row more": lambda old: torch.cat([old.reshape(-1), old.reshape(-1)[:1]]),
    "transposed": lambda old: old.reshape(*old.shape[::-1]) if old.dim() > 1 else old.reshape(1, -1),
    "a scalar": lambda old: torch.zeros(()),
    "empty": lambda old: torch.empty(0),
    "huge by stride 0": lambda old: torch.zeros(1).expand(10**6, 10**6),
    "huge in its own shape": lambda old: torch.zeros(1).expand(10**12, *old.shape[1:]),
    "complex": lambda old: old.to(torch.complex64),
    "bool": lambda old: old.to(torch.bool),
    "int8": lambda old: old.to(torch.int8),
    "float64": lambda old: old.to(torch.float64),
    "NaN": lambda old: torch.full_like(old, math.nan) if old.is_floating_point() else old - 10**6,
    "infinite": lambda old: torch.full_like(old, math.inf) if old.is_floating_point() else old + 10**12,
    "sparse": lambda old: old.to_sparse(),
    "on the meta device": lambda old: old.to("meta"),
    "a parameter": lambda old: torch.nn.Parameter(old, False) if old.is_floating_point() else [old],
}
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "negative": lambda old: -abs(old) - 1,
    "huge": lambda old: 10**18,
    "beyond 64 bits": lambda old: 10**20,
    "one more": lambda old: old + 1,
    "one less": lambda old: old - 1,
    "a fraction": lambda old: old + 0.5,
}


def walk(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every value at every depth, with the keys that lead to it."""
    if keys:
        yield keys, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if _is_list(value) else ()
    for key, child in items:
        yield from walk(child, (*keys, key))


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def replaced(content: Content, keys: Keys, value: Any) -> Content:
    """`content` with the value at `keys` replaced, in place."""
    _parent(content, keys)[keys[-1]] = value
    return content


def _parent(content: Any, keys: Keys) -> Any:
    """The mutable holder of the value at `keys`; a tuple on the way becomes a list."""
    holder = content
    for key in keys[:-1]:
        if isinstance(holder[key], tuple):
            holder[key] = list(holder[key])
        holder = holder[key]
    return holder


def shown(keys: Keys) -> str:
    """Keys as one word."""
    return ".".join(str(key) for key in keys)


def alterations(content: Content) -> Iterator[Alteration]:
    """All of them for this content."""
    others, tensors, numbers = (
        itertools.cycle(part.items())
        for part in (OTHERS, TENSORS, NUMBERS)  # type: ignore[var-annotated]
    )
    for keys, value in walk(content):
        yield Alteration("removed", shown(keys), _remove(keys))
        for name, other in itertools.islice(others, 3):
            yield Alteration("other type", f"{shown(keys)} = {name}", _put(keys, other))
        if isinstance(value, torch.Tensor):
            for name, change in itertools.islice(tensors, 3):
                yield Alteration("tensor", f"{shown(keys)}: {name}", _change(keys, change))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            for name, change in itertools.islice(numbers, 2):
                yield Alteration("number", f"{shown(keys)}: {name}", _change(keys, change))
    for name in ("epoch", "global_step"):
        for how, change in NUMBERS.items():
            yield Alteration("number", f"{name}: {how}, for sure", _change((name,), change))


def _remove(keys: Keys) -> Callable[[Content, Sandbox], Content]:
    def make(content: Content, _: Sandbox) -> Content:
        del _parent(content, keys)[keys[-1]]
        return content

    return make


def _put(keys: Keys, value: Any) -> Callable[[Content, Sandbox], Content]:
    return lambda content, _: replaced(content, keys, copy.deepcopy(value))


def _change(keys: Keys, change: Callable[[Any], Any]) -> Callable[[Content, Sandbox], Content]:
    def make(content: Content, _: Sandbox) -> Content:
        parent = _parent(content, keys)
        parent[keys[-1]] = change(parent[keys[-1]])
        return content

    return make
