"""Settings that are younger than a run: what its configuration leaves out has the constructor's default."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mergan.config.instantiate import signatures_of
from mergan.config.slots import locate

TARGET = "_target_"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The dotted keys in which the configuration of a run differs from one of today.

    A later version may give a class a further argument, whose default is what the class did before. So a key
    that only `new` has is no change if it has the value that its class takes without it.

    Args:
        old: the configuration of a run; none of the classes that it names is imported.
        new: a configuration that has been checked.
    """
    found: list[str] = []
    _compare(old, new, "", found)
    return found


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str, found: list[str]) -> None:
    same_class = TARGET in new and old.get(TARGET) == new[TARGET]
    defaults = _defaults(f"{prefix}{TARGET}", new[TARGET]) if same_class and new.keys() - old.keys() else {}
    for key in {**old, **new}:
        before, after = old.get(key, defaults.get(key)), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            _compare(before, after, f"{prefix}{key}.", found)
        elif before != after:
            found.append(f"{prefix}{key}")


def _defaults(key: str, name: str) -> dict[str, Any]:
    """The defaults of the arguments of a class or function, by name."""
    found: dict[str, Any] = {}
    for parameters in signatures_of(locate(key, name)):
        for argument, parameter in (parameters or {}).items():
            if parameter.default is not inspect.Parameter.empty:
                found.setdefault(argument, parameter.default)
    return found
