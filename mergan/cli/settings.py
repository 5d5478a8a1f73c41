"""Read the command line of doors that Hydra does not compose: a few KEY=VALUE settings, and other words."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mergan.system.errors import ConfigError
from mergan.system.text import shown

NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
Settings = TypeVar("Settings")


def read(kind: type[Settings], defaults: Path, words: Sequence[str]) -> tuple[Settings, list[str]]:
    """The settings of a door: the defaults of its file, overridden by the command line.

    Args:
        kind: the dataclass of the settings; its types determine how values are read.
        defaults: the YAML file with a value for each setting.
        words: the words of the command line.

    Returns:
        The settings, and the words that do not set one of them, in order.

    Raises:
        ConfigError: a key without a value or given twice, a value of another type, an empty word or a flag.
    """
    values: dict[str, Any] = yaml.safe_load(defaults.read_text(encoding="utf-8"))
    hints = typing.get_type_hints(kind)
    keys = [key for key, value in values.items() if not isinstance(value, dict)]
    given: set[str] = set()
    others = []
    for word in words:
        key, equals, text = word.partition("=")
        if key not in keys:
            _check_other(word, keys)
            others.append(word)
        elif not equals or not text:
            raise ConfigError(f"{shown(word)}: a setting is written {key}=VALUE")
        elif key in given:
            raise ConfigError(f"{shown(word)}: {key} is set twice; give it once")
        else:
            given.add(key)
            values[key] = _value(key, text, hints[key])
    return kind(**values), others


def _check_other(word: str, keys: Sequence[str]) -> None:
    if not word or word.startswith("-"):
        raise ConfigError(f"{shown(word) or repr(word)}: not understood; --help shows the usage")
    key, equals, _ = word.partition("=")
    near = difflib.get_close_matches(key, keys, 1, 0.75)
    if equals and near and not Path(word).exists():
        raise ConfigError(f"{shown(word)}: unknown key {shown(key)}; did you mean {near[0]}?")


def _value(key: str, text: str, hint: Any) -> Any:
    """The value converted to the type of its key."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if text == "null" and type(None) in kinds:
        return None
    if bool in kinds:
        if text not in ("true", "false"):
            raise ConfigError(f"{key}={shown(text)}: use true or false")
        return text == "true"
    if typing.get_origin(hint) is list:
        if not (text.startswith("[") and text.endswith("]")):
            raise ConfigError(f"{key}={shown(text)}: use a list, e.g. {key}=[{shown(text)}]")
        return [part.strip() for part in text[1:-1].split(",") if part.strip()]
    if int in kinds:
        if not NUMBER.fullmatch(text):
            raise ConfigError(f"{key}={shown(text[:40])}: use a whole number")
        return int(text)
    return text
