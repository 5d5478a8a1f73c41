"""Building what a node of the configuration names, after a look at its arguments."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import math
import types
import typing
from typing import Any

import hydra
from omegaconf import DictConfig, ListConfig

from mergan.config import slots
from mergan.system.errors import ConfigError, MerganError

VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
LARGEST = 2**63  # whole numbers from there on fit no tensor
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", type(None): "null"}
PLURALS = {**WORDS, int: "whole numbers", float: "numbers", str: "words"}


def instantiate(node: Any, **arguments: Any) -> Any:
    """What the `_target_` of a node makes of its arguments and of `arguments`.

    Hydra checks the names of arguments only. Here their values are held against the type hints of the
    constructor as well, so that a wrong one is refused by name and not somewhere in the middle of the work.

    Raises:
        ConfigError: a value of another type than the constructor says, or one that a library refuses.
        MerganError: what the constructor itself refuses.
    """
    check_types(node)
    key = node._get_full_key(None)
    # Hydra reads the node alone: it would turn what is handed over here into nodes of its own
    part = hydra.utils.instantiate(node, _partial_=True)
    if node.get("_partial_"):
        return functools.partial(part, **arguments)
    try:
        made = part(**arguments)
    except MerganError:
        raise
    except Exception as error:  # what a library's constructor has to say
        raise ConfigError(f"{key}: {error}") from error
    slots.check_made(key, made)
    return made


def arguments_of(node: DictConfig) -> set[str]:
    """The names of arguments that what a node names takes and the node does not give.

    Those that a constructor passes on to its base class by `**name` are among them.

    Raises:
        ConfigError: the target is none.
    """
    check_types(node)
    return _parameters(slots.locate(node._get_full_key("_target_"), node._target_)) - set(map(str, node))


def _parameters(target: Any) -> set[str]:
    constructors = [target]
    if inspect.isclass(target):
        constructors = [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
    names: set[str] = set()
    for constructor in constructors:
        try:
            parameters = inspect.signature(constructor).parameters
        except (TypeError, ValueError):  # one written in C tells nothing
            break
        names |= {name for name, parameter in parameters.items() if parameter.kind not in VARIABLE}
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return names - {"self"}


def check_types(node: DictConfig) -> None:
    """Hold the `_target_` of a node against what its place in the configuration is for (mergan.config.slots),
    and its arguments against the type hints of that, where there are any.

    Raises:
        ConfigError: naming the key, its value and what is expected.
    """
    target = node.get("_target_")
    if not isinstance(target, str):
        raise ConfigError(f"{node._get_full_key('_target_')}={target}: use the dotted name of a class")
    located = slots.locate(node._get_full_key("_target_"), target)
    slots.check_kind(node._get_full_key(None), located, target)
    try:
        hints = _hints(located)
    except Exception:  # hints that cannot be resolved say nothing
        return
    for name in node:
        value, hint = node[name], hints.get(str(name), Any)
        if not str(name).startswith("_") and not fits(value, hint):
            raise ConfigError(f"{node._get_full_key(name)}={value}: use {wanted(hint)}")


def _hints(target: Any) -> dict[str, Any]:
    """Type hints by argument; those that a constructor passes on to its base class are found there."""
    if not inspect.isclass(target):
        return typing.get_type_hints(target)
    found: dict[str, Any] = {}
    for base in reversed(target.__mro__):
        if "__init__" in vars(base) and base is not object:
            found |= typing.get_type_hints(vars(base)["__init__"])
    return found


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of a configuration is of a type; types that no YAML can hold fit everything."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in typing.get_args(hint))
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    if hint in (int, float):
        number = isinstance(value, (int, hint)) and not isinstance(value, bool)
        return number and (abs(value) < LARGEST if isinstance(value, int) else not math.isnan(value))
    if origin in (list, tuple, collections.abc.Sequence, collections.abc.Iterable):
        part = (*typing.get_args(hint), Any)[0]
        return isinstance(value, ListConfig) and all(fits(entry, part) for entry in value)
    return True


def wanted(hint: Any) -> str:
    """A type in the words of a message."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(wanted(part) for part in typing.get_args(hint))
    if hint in WORDS:
        return WORDS[hint]
    parts = typing.get_args(hint)
    return f"a list of {_several(parts[0])}" if parts else "a list"


def _several(hint: Any) -> str:
    """The same in the plural: what the entries of a list are."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_several(part) for part in typing.get_args(hint))
    if hint in PLURALS:
        return PLURALS[hint]
    parts = typing.get_args(hint)
    return f"lists of {_several(parts[0])}" if parts else "lists"
