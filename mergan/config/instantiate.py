"""Build the object that a node of the configuration names, after checking its arguments."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Iterator, Mapping
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
        key: key of the part in the configuration: strategy, network.generator, evaluation.metrics.kid.
        *words: overrides as on the command line; they choose files of conf/ and set values anywhere.
        **arguments: arguments of its constructor. Plain values replace those of conf/ and are checked in the
            same way; other objects, e.g. a network, are passed on unchanged.

    Raises:
        ConfigError: as `instantiate`, or there is no part at that key.
    """
    node = node_of(key, *words)
    objects = {name: value for name, value in arguments.items() if not isinstance(value, VALUES)}
    node.update({name: value for name, value in arguments.items() if name not in objects})
    return instantiate(node, **objects)


def instantiate(node: Mapping[str, Any] | DictConfig, key: str | None = None, /, **arguments: Any) -> Any:
    """Call the `_target_` of a node with the node's arguments and `arguments`.

    Hydra checks only the names of arguments. This function also checks their values against the annotations
    of the constructor (mergan.config.hints), so that a wrong value is refused by name before the work starts.

    Args:
        node: a node of the configuration, or a plain mapping.
        key: its key, for messages; a DictConfig knows its own.
        **arguments: arguments of the constructor, passed on unchanged.

    Raises:
        ConfigError: a value has another type, is outside the range of the constructor's annotation, or is
            refused by a library.
        MerganError: the constructor itself raises it.
    """
    key = _key(node) if key is None else key
    check_types(node, key)
    # Hydra gets only the node: it would turn `arguments` into nodes of its own
    partial = hydra.utils.instantiate(node, _partial_=True)
    if node.get("_partial_"):
        return functools.partial(partial, **arguments)
    try:
        made = partial(**arguments)
    except MerganError:
        raise
    except Exception as error:  # a library's constructor may raise anything
        raise ConfigError(f"{key}: {error}") from error
    slots.check_made(key, made)
    return made


def instantiate_offering(node: Mapping[str, Any], key: str, offered: Mapping[str, Any]) -> Any:
    """`instantiate` with those of the offered values that the constructor has arguments for and the node does
    not set.
    """
    asked = arguments_of(node, key)
    return instantiate(node, key, **{name: value for name, value in offered.items() if name in asked})


def arguments_of(node: Mapping[str, Any] | DictConfig, key: str | None = None) -> set[str]:
    """The names of arguments that the target of a node accepts and the node does not set.

    They include arguments that a constructor passes on to its base class by `**name`.

    Args:
        node, key: see `instantiate`.

    Raises:
        ConfigError: the target does not exist.
    """
    key = _key(node) if key is None else key
    check_types(node, key)
    names, _ = _parameters(slots.locate(_inside(key, "_target_"), node["_target_"]))
    return names - set(map(str, node))


def _signatures(target: Any) -> Iterator[Mapping[str, inspect.Parameter] | None]:
    """The arguments of a function, or of the constructors of a class: its own, and those of base classes to
    which it passes arguments on by `**name`. None stands for code written in C that has no signature.
    """
    constructors = [target]
    if inspect.isclass(target):
        constructors = [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
    for constructor in constructors:
        try:
            parameters = inspect.signature(constructor).parameters
        except (TypeError, ValueError):
            yield None
            return
        yield parameters
        if not _passes_on(parameters):
            return


def _passes_on(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


def _parameters(target: Any) -> tuple[set[str], bool]:
    """The names of all arguments of a class or function, and whether it may accept others too."""
    names: set[str] = set()
    others = False
    for parameters in _signatures(target):
        others = parameters is None or _passes_on(parameters)
        names |= {name for name, one in (parameters or {}).items() if one.kind not in VARIABLE}
    return names - {"self"}, others


def defaults_of(target: Any) -> dict[str, Any]:
    """The defaults of the arguments of a class or function, by name."""
    found: dict[str, Any] = {}
    for parameters in _signatures(target):
        for name, parameter in (parameters or {}).items():
            if parameter.default is not inspect.Parameter.empty:
                found.setdefault(name, parameter.default)
    return found


def check_types(node: Mapping[str, Any] | DictConfig, key: str | None = None) -> None:
    """Check the `_target_` of a node against the slot of its key (mergan.config.slots), and its arguments
    against the annotations of the target, if it has any.

    Args:
        node, key: see `instantiate`.

    Raises:
        ConfigError: the message names the key, its value and what is expected.
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
    except Exception:  # unresolvable annotations are ignored
        return
    for name, value in node.items():
        argument = str(name)
        if not argument.startswith("_"):
            hints.check(_inside(key, argument), value, annotations.get(argument, Any))


def annotations_of(target: Any) -> dict[str, Any]:
    """Annotations by argument, including arguments that a constructor passes on to its base class."""
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
