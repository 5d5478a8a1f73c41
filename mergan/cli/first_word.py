"""A word without a key: `mergan sample runs/first` means `mergan sample checkpoint=runs/first`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mergan.cli import words
from mergan.system.errors import ConfigError
from mergan.system.text import shortened, shown


def as_setting(typed: Sequence[str], key: str) -> list[str]:
    """The same command line, with the key in front of the word that has none.

    A path that exists is such a word even if it contains "=", as folders of a sweep do.

    Args:
        typed: the words after the name of the command.
        key: the key; empty: the command has none, and nothing changes.

    Raises:
        ConfigError: there are two such words, or the key is given as well; or a flag is unknown.
    """
    if not key:
        return list(typed)
    settings = words.parse(typed).overrides
    bare = [word for word in settings if _is_bare(word)]
    if not bare:
        return list(typed)
    named = [word for word in settings if word not in bare and words.key_of(word) == key]
    if len(bare) + len(named) > 1:
        both = shortened(shown(" ".join([*named, *bare])), words.SHOWN)
        raise ConfigError(f"{both}: give one {key}")
    return [words.quoted(key, word) if word == bare[0] else word for word in typed]


def _is_bare(word: str) -> bool:
    deletes = word.startswith("~") and not word.startswith("~/")
    return bool(word) and not deletes and ("=" not in word or os.path.exists(word))
