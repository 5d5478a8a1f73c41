"""Check that a value fits the annotation of its argument or field, or say in words what to use instead.

Types are those that YAML can hold. Ranges are the bounds and lengths of annotated_types, as in
`Annotated[int, Ge(1)]` and `Annotated[Sequence[float], Len(2, 2)]`. Choices are a `Literal`. It may also
annotate a type, as in `Annotated[int, Literal[16, 32]]`, because OmegaConf cannot read a bare `Literal`.
"""

from __future__ import annotations

import collections.abc
import math
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen
from omegaconf import DictConfig, ListConfig

from mergan.system.errors import ConfigError

LARGEST = 2**63  # integers from here on fit in no tensor
WORDS = {
    bool: ("true or false",) * 2,
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    str: ("a word", "words"),
    type(None): ("null",) * 2,
}
BOUNDS = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}
RANGES = {
    ("ge",): "of {ge} or more",
    ("gt",): "above {gt}",
    ("le",): "of {le} or less",
    ("lt",): "below {lt}",
    ("ge", "le"): "from {ge} to {le}",
    ("ge", "lt"): "of {ge} or more, below {lt}",
    ("gt", "le"): "above {gt}, at most {le}",
    ("gt", "lt"): "between {gt} and {lt}",
}
UNIONS = (typing.Union, types.UnionType)
LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
MAPPINGS = (dict, collections.abc.Mapping)


def check(key: str, value: Any, hint: Any) -> None:
    """Refuse a value that does not fit.

    Args:
        key: the full key of the value in the configuration.
        value: the value as OmegaConf or YAML gives it.
        hint: the annotation.

    Raises:
        ConfigError: the message names the key, its value and what is allowed.
    """
    if not fits(value, hint):
        raise ConfigError(f"{key}={shown(value)}: use {wanted(hint)}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has a type and is within its range. NaN and infinity never fit. Types that YAML cannot
    hold accept everything. Ranges of other kinds are ignored.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return fits(value, parts[0]) and all(_holds(value, rule) for rule in _rules(parts[1:]))
    if origin in UNIONS:
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in parts)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    if hint in (int, float):
        number = isinstance(value, (int, hint)) and not isinstance(value, bool)
        return number and (abs(value) < LARGEST if isinstance(value, int) else math.isfinite(value))
    if (origin or hint) in LISTS:
        of = (*parts, Any)[0]
        return isinstance(value, (ListConfig, list, tuple)) and all(fits(entry, of) for entry in value)
    if (origin or hint) in MAPPINGS:
        return isinstance(value, (DictConfig, dict))
    return True


def wanted(hint: Any, several: bool = False) -> str:
    """A type and its range in words, for a message; in the plural if `several`."""
    rules: list[Any] = []
    if typing.get_origin(hint) is Annotated:
        hint, *metadata = typing.get_args(hint)
        rules = list(_rules(metadata))
        hint = next((rule for rule in rules if typing.get_origin(rule) is Literal), hint)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        words = " or ".join(wanted(part, several) for part in parts if part is not type(None))
        return f"{words}, or null" if type(None) in parts else words
    if origin is Literal:
        *others, last = map(shown, parts)
        return f"{', '.join(others)} or {last}" if others else last
    if (origin or hint) in LISTS:
        entries = f" of {_length(rules)}{wanted(parts[0], several=True)}" if parts else ""
        return f"{'lists' if several else 'a list'}{entries}"
    if (origin or hint) in MAPPINGS:
        return "mappings" if several else "a mapping"
    words = WORDS.get(hint, (str(hint),) * 2)[several]
    bounds = _bounds(rules)
    return f"{words.replace('finite ', '')} {bounds}" if bounds else words


def shown(value: Any) -> str:
    """A value as written in YAML and on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rules(metadata: Iterable[Any]) -> Iterator[Any]:
    """The rules that annotate a type; an Interval and a Len are split into their parts."""
    for rule in metadata:
        if isinstance(rule, GroupedMetadata):
            yield from _rules(rule)
        else:
            yield rule


def _holds(value: Any, rule: Any) -> bool:
    """Whether a value of the right type is within a range; ranges for other types of a union are ignored."""
    number, several = isinstance(value, (int, float)), isinstance(value, (ListConfig, list, tuple))
    match rule:
        case Ge(bound) if number:
            return bool(value >= bound)
        case Gt(bound) if number:
            return bool(value > bound)
        case Le(bound) if number:
            return bool(value <= bound)
        case Lt(bound) if number:
            return bool(value < bound)
        case MinLen(least) if several:
            return len(value) >= least
        case MaxLen(most) if several:
            return len(value) <= most
    return fits(value, rule) if typing.get_origin(rule) is Literal else True


def _bounds(rules: Iterable[Any]) -> str:
    found = {BOUNDS[type(rule)]: rule for rule in rules if type(rule) in BOUNDS}
    words = RANGES.get(tuple(sorted(found)), "")
    return words.format(**{name: _number(getattr(rule, name)) for name, rule in found.items()})


def _number(bound: Any) -> str:
    """A bound as text; large powers of two are written as powers."""
    power = bound.bit_length() - 1 if isinstance(bound, int) else 0
    return f"2^{power}" if power > 16 and bound == 1 << power else str(bound)


def _length(rules: Iterable[Any]) -> str:
    least, most = 0, None
    for rule in rules:
        least = rule.min_length if isinstance(rule, MinLen) else least
        most = rule.max_length if isinstance(rule, MaxLen) else most
    if most is None:
        return f"{least} or more " if least else ""
    return f"{most} " if least == most else f"{least} to {most} "
