"""The message for a key that a configuration does not have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mergan.config import CONF, load_configuration
from mergan.system.text import shortened

ALIKE = 0.75  # difflib's ratio from which another key is proposed
LONGEST = 100  # characters of a key that is looked up


def unknown(key: str, command: str, overrides: Sequence[str], folders: Sequence[Path] = ()) -> str:
    """The message; it proposes the key that the user probably meant.

    Args:
        key: the key as typed.
        command: the command that lacks the key, e.g. "train".
        overrides: the overrides of the command line; their choices determine which keys exist.
        folders: the folders of --config-dir.
    """
    near = _nearest(key, command, overrides, folders)
    meant = f"; did you mean {near}?" if near else ""
    return f"unknown key {shortened(key, LONGEST)}{meant}"


def _nearest(key: str, command: str, overrides: Sequence[str], folders: Sequence[Path]) -> str | None:
    """The key that ends with this one, or else the one with the most similar spelling."""
    if len(key) > LONGEST:
        return None
    try:
        cfg = load_configuration(command, [word for word in overrides if _chooses(word)], folders)
    except (HydraException, OmegaConfBaseException):
        return None  # the command is refused for its own error, not for a failed proposal
    names = list(_names(cfg))
    short = [name for name in names if name.rpartition(".")[2] == key]
    return next(iter(short or difflib.get_close_matches(key, names, 1, ALIKE)), None)


def _chooses(word: str) -> bool:
    """Whether a word chooses one file of a group; such choices determine which keys exist."""
    group, equals, choice = word.lstrip("+").partition("=")
    return bool(equals) and (CONF / group).is_dir() and "," not in choice


def _names(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in map(str, node):
        yield f"{prefix}{name}"
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing()):
            yield from _names(child, f"{prefix}{name}.")
