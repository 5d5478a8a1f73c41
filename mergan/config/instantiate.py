"""Building what a node of the configuration names, after a look at its arguments."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Mapping
from typing import Any

import hydra
from omegaconf import DictConfig

from mergan.config import hints, slots
from mergan.config.composition import node_of
from mergan.system.errors import ConfigError, MerganError

VALUES = (bool, int, float, str, list, tuple, dict, type(None))  # what YAML can hold
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def part(key: str, *words: str, **arguments: Any) -> Any:
    """A part of a run as conf/ describes it: `part("strategy", "strategy=ewc", weight=1e3)`.

    Args:
        key: where the part stands in the configuration: strategy, network.generator, evaluation.metrics.kid.
        *words: those of a command line, which choose files of conf/ and set values anywhere.
        **arguments: of its constructor. Values take the place of those in conf/ and are checked like them;
            anything else, as a network, is handed over.

    Raises:
        ConfigError: as `instantiate`, or there is no part at that key.
    """
    node = node_of(key, *words)
    objects = {name: value for name, value in arguments.items() if not isinstance(value, VALUES)}
    node.update({name: value for name, value in arguments.items() if name not in objects})
    return instantiate(node, **objects)


def instantiate(node: Mapping[str, Any] | DictConfig, key: str | None = None, /, **arguments: Any) -> Any:
    """What the `_target_` of a node makes of its arguments and of `arguments`.

    Hydra checks the names of arguments only. Here their values are held against the annotations of the
    constructor as well (mergan.config.hints), so that a wrong one is refused by name and not somewhere in the
    middle of the work.

    Args:
        node: of the configuration, or a plain mapping.
        key: where it stands, for messages; a DictConfig knows that itself.
        **arguments: of the constructor, as they are.

    Raises:
        ConfigError: a value of another type or out of the range that the constructor says, or one that a
            library refuses.
        MerganError: what the constructor itself refuses.
    """
    key = _key(node) if key is None else key
    check_types(node, key)
    # Hydra reads the node alone: it would turn what is handed over here into nodes of its own
    partial = hydra.utils.instantiate(node, _partial_=True)
    if node.get("_partial_"):
        return functools.partial(partial, **arguments)
    try:
        made = partial(**arguments)
    except MerganError:
        raise
    except Exception as error:  # what a library's constructor has to say
        raise ConfigError(f"{key}: {error}") from error
    slots.check_made(key, made)
    return made


def arguments_of(node: Mapping[str, Any] | DictConfig, key: str | None = None) -> set[str]:
    """The names of arguments that what a node names takes and the node does not give.

    Those that a constructor passes on to its base class by `**name` are among them.

    Args:
        node, key: as of `instantiate`.

    Raises:
        ConfigError: the target is none.
    """
    key = _key(node) if key is None else key
    check_types(node, key)
    names, _ = _parameters(slots.locate(_inside(key, "_target_"), node["_target_"]))
    return names - set(map(str, node))


def _parameters(target: Any) -> tuple[set[str], bool]:
    """The names of all arguments of a class or function, and whether it may take others too."""
    constructors = [target]
    if inspect.isclass(target):
        constructors = [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
    names: set[str] = set()
    for constructor in constructors:
        try:
            parameters = inspect.signature(constructor).parameters
        except (TypeError, ValueError):  # one written in C tells nothing
            return names, True
        names |= {name for name, parameter in parameters.items() if parameter.kind not in VARIABLE}
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            return names - {"self"}, False
    return names - {"self"}, True


def check_types(node: Mapping[str, Any] | DictConfig, key: str | None = None) -> None:
    """Hold the `_target_` of a node against what its place in the configuration is for (mergan.config.slots),
    and its arguments against the annotations of that, where there are any.

    Args:
        node, key: as of `instantiate`.

    Raises:
        ConfigError: naming the key, its value and what is expected.
    """
    key = _key(node) if key is None else key
    target, its_key = node.get("_target_"), _inside(key, "_target_")
    if not isinstance(target, str):
        raise ConfigError(f"{its_key}={hints.shown(target)}: use the dotted name of a class")
    located = slots.locate(its_key, target)
    slots.check_kind(key, located, target)
    names, others = _parameters(located)
    for given in () if others else map(str, node):
        if not given.startswith("_") and given not in names:
            kind = target.rpartition(".")[2]
            raise ConfigError(
                f"{_inside(key, given)}={hints.shown(node[given])}: {kind} has no such setting; "
                f"leave it out, with ~{_inside(key, given)} where a preset sets it"
            )
    try:
        annotations = annotations_of(located)
    except Exception:  # those that cannot be resolved say nothing
        return
    for name, value in node.items():
        argument = str(name)
        if not argument.startswith("_"):
            hints.check(_inside(key, argument), value, annotations.get(argument, Any))


def annotations_of(target: Any) -> dict[str, Any]:
    """Annotations by argument; those that a constructor passes on to its base class are found there."""
    if not inspect.isclass(target):
        return typing.get_type_hints(target, include_extras=True)
    found: dict[str, Any] = {}
    for base in reversed(target.__mro__):
        if "__init__" in vars(base) and base is not object:
            found |= typing.get_type_hints(vars(base)["__init__"], include_extras=True)
    return found


def _key(node: Mapping[str, Any] | DictConfig) -> str:
    return str(node._get_full_key(None)) if isinstance(node, DictConfig) else ""


def _inside(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
