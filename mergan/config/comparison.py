"""Compare two configurations, and find the dependencies between the values of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan.config import slots
from mergan.config.instantiate import defaults_of
from mergan.system.errors import ConfigError

# how a command resumes and where its caches are: never taken from the run that it resumes
OF_COMMAND = ("cache_dir", "ckpt_path", "resume", "allow_changes", "trust")

# settings that may differ between a run and its continuation without changing what is learned
HARMLESS = (*OF_COMMAND, "init_from", "trainer", "logger", "callbacks", "recovery", "data.root",
            "data.download", "data.source.root", "data.source.download",
            "evaluation.inception_weights", "evaluation.spaces.inception.weights")  # fmt: skip
NOT_HARMLESS = ("trainer.precision",)  # although the rest of its group is harmless

# values that name files and folders
PATHS = ("cache_dir", "data.root", "data.source.root", "ckpt_path", "init_from",
         "evaluation.inception_weights", "evaluation.spaces.inception.weights", "checkpoint", "out",
         "root")  # fmt: skip

TARGET = "_target_"

# a value that only refers to another key
REFERENCE = re.compile(r"\$\{([^\W\d]\w*(?:\.\w+)*)\}")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys in which two plain configurations differ, e.g. that of a run and one of today.

    A later version may give a class a further argument, whose default is what the class did before. So a key
    that only `new` has is no difference if it has the value that its class takes without it.

    Args:
        old: may come from a file; none of the classes that it names is imported.
        new: its classes are imported, where `old` has the same with fewer arguments.
        prefix: the key of both, with a dot.
    """
    found: list[str] = []
    target = new.get(TARGET)
    defaults: Mapping[str, Any] = {}
    if isinstance(target, str) and target == old.get(TARGET) and new.keys() - old.keys():
        defaults = defaults_of(slots.locate(f"{prefix}{TARGET}", target))
    for key in {**old, **new}:
        before, after = old.get(key, defaults.get(key)), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}")
    return found


def harmless(key: str) -> bool:
    """Whether a setting may differ between a run and its continuation without changing what is learned."""
    return any(below(key, part) for part in HARMLESS) and key not in NOT_HARMLESS


def below(key: str, part: str) -> bool:
    """Whether two dotted keys are equal or one lies below the other; "" as `part` stands for the whole."""
    return part == "" or key == part or key.startswith(f"{part}.") or part.startswith(f"{key}.")


def absolute_paths(cfg: DictConfig) -> DictConfig:
    """A copy of the configuration with absolute paths and `~` resolved, so that they mean the same in another
    working directory. Values that refer to other keys still do.
    """
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    for key in PATHS:
        if OmegaConf.is_missing(cfg, key):
            continue
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(cfg, parent) if parent else cfg
        if not isinstance(node, DictConfig) or name not in node or OmegaConf.is_interpolation(node, name):
            continue
        if isinstance(node[name], str):
            node[name] = _absolute(key, node[name])
    return cfg


def _absolute(key: str, path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError as error:
        raise ConfigError(f"{key}={path}: there is no such home folder; write the path out") from error


def links(cfg: DictConfig) -> dict[str, str]:
    """How values of a configuration depend on others: the text of every interpolation, by key.

    Relative interpolations are rewritten to start from the top, e.g. that of `learner.lr` to `${lr}`.
    """
    found: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("", OmegaConf.to_container(cfg, resolve=False, enum_to_str=True))]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}".lstrip("."), part) for name, part in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{key}.{index}", part) for index, part in enumerate(value)]
        elif isinstance(value, str) and "${" in value:
            found[key] = _from_top(value, key)
    return found


def _from_top(text: str, key: str) -> str:
    """Rewrite `${.name}` and `${..name}` in the value of a key to start from the top of the configuration."""

    def resolved(match: re.Match[str]) -> str:
        above = key.split(".")[: -len(match[1])]
        return "${" + ".".join([*above, match[2]])

    return re.sub(r"\$\{(\.+)(\w)", resolved, text)
