"""Resuming a run: which configuration applies."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mergan import config
from mergan.checkpoints import file as checkpoint
from mergan.checkpoints.contents import KEY, PROCESSES
from mergan.checkpoints.trust import PLACES, TARGET, Trust, package, places
from mergan.run import automatic, same_batch
from mergan.system.errors import ConfigError, reason
from mergan.system.text import shown

WHOLE = ("experiment", "debug")  # groups that may set any key
COUNTED = "recovery.used"  # written by the run itself
OF_MACHINE = ("trainer.strategy", "trainer.devices", "trainer.num_nodes")
ABSENT = object()


@dataclass(frozen=True)
class Command:
    """The command that the user typed.

    Attributes:
        cfg: the configuration that it describes.
        overrides: its overrides, e.g. ["strategy=finetune", "ckpt_path=..."].
        groups: names of the configuration groups.
        folders: folders of its YAML files.
        trust: which classes a checkpoint may name.
    """

    cfg: DictConfig
    overrides: Sequence[str]
    groups: Sequence[str]
    folders: Sequence[Path]
    trust: Trust


@dataclass(frozen=True)
class Continuation:
    """How to resume a run.

    Attributes:
        cfg: the configuration that applies.
        links: how it was composed, see mergan.config.links.
        content: the checkpoint.
        changed: settings that differ from the checkpoint's, apart from those that are always the command's.
    """

    cfg: DictConfig
    links: dict[str, str]
    content: dict[str, Any]
    changed: tuple[str, ...] = ()


def restore(command: Command) -> Continuation:
    """Find out how to resume the run that `ckpt_path` belongs to.

    The checkpoint's own configuration applies, so `ckpt_path=` alone is enough. Settings on the command line
    must agree with it unless `allow_changes` is set. Exceptions are settings that do not change what is
    learned, and the epochs of tasks not yet begun. When a setting changes, the settings composed from it
    change too, as `learner.lr` with `lr`. Caches and all output paths are the command's. Nothing is
    downloaded into a data folder that only the checkpoint names. Where the command leaves a value to be
    chosen from the data (mergan.run.automatic), the run's choice stands.

    Raises:
        CheckpointError: the checkpoint cannot be read, or names a class that the command does not trust.
        ConfigError: the command line contradicts the checkpoint.
    """
    path = Path(command.cfg.ckpt_path)
    content = checkpoint.read(path)
    old = checkpoint.run_config(content, path, command.trust)
    saved: dict[str, Any] = content[KEY]["config"]
    cfg = automatic.kept(command.cfg, saved)
    given: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    touched = _touched(command)
    changed = [
        key
        for key in config.differences(saved, given)
        if any(config.below(key, part) for part in touched)
        and key.split(".")[0] not in config.OF_COMMAND
        and key != COUNTED
    ]
    wanted, links = _composed(saved, given, changed, touched, content[KEY]["links"], config.links(cfg))
    _take_from_command(wanted, given, touched)
    new = _typed(wanted, path)
    wrong = [key for key in changed if not config.harmless(key)]
    if "epochs" in wrong and _same_so_far(old, new, content):
        wrong.remove("epochs")
    before = content[KEY].get(PROCESSES, 1)
    if same_batch.check_batch(before, old, new, command.cfg.allow_changes) and "batch_size" in wrong:
        wrong.remove("batch_size")
    if wrong and not command.cfg.allow_changes:
        raise ConfigError(
            f"{', '.join(wrong)}: not as in the run that ckpt_path={path} belongs to; leave it out to go on "
            f"with that run, set allow_changes=true to change it, or start a new run with init_from={path}"
        )
    return Continuation(new, links, content, tuple(changed))


def _composed(
    saved: Mapping[str, Any],
    given: Mapping[str, Any],
    changed: Sequence[str],
    touched: Sequence[str],
    links: Mapping[str, str],
    given_links: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, str]]:
    """The run's configuration with the changed settings and all that follow from them, and its links.

    Args:
        saved: the configuration of the checkpoint.
        given: the configuration of the command.
        changed: keys to take from `given`.
        touched: keys that the command sets.
        links: how the run was composed.
        given_links: how the command is composed.

    Raises:
        ConfigError: a value was computed from a changed one, and the command does not set it.
    """
    wanted = copy.deepcopy(dict(given if "" in touched else saved))
    for part in touched:
        if part and not (_get(given, part) is ABSENT and _get(saved, part) is ABSENT):
            _put(wanted, part, _get(given, part))
    _put(wanted, COUNTED, _get(saved, COUNTED))
    own = {
        key: text
        for key, text in links.items()
        if not _is_touched(key, touched) and _get(saved, key) is not ABSENT
    }
    moved = set(changed)
    while following := [key for key in own if key not in moved and _follows(key, own[key], moved)]:
        for key in following:
            _put(wanted, key, _get(wanted, _target(own[key]) or ""))
        moved.update(following)
    for key in own.keys() - moved:
        source = next((other for other in sorted(moved) if _mentions(own[key], other)), None)
        if source is not None:
            raise ConfigError(
                f"{source}: {key} was composed from it as {shown(own[key])!r}; give {key}= as well"
            )
    return wanted, {**own, **{key: text for key, text in given_links.items() if _is_touched(key, touched)}}


def _is_touched(key: str, touched: Iterable[str]) -> bool:
    return any(part == "" or key == part or key.startswith(f"{part}.") for part in touched)


def _follows(key: str, text: str, moved: Iterable[str]) -> bool:
    """Whether a value repeats one that has changed. Classes to build and output paths never follow."""
    target = _target(text)
    if target is None or key.split(".")[0] in PLACES or key.endswith(TARGET):
        return False
    return any(config.below(target, other) for other in moved)


def _target(text: str) -> str | None:
    """The key that a value refers to, if it is nothing but an interpolation."""
    match = config.REFERENCE.fullmatch(text)
    return match[1] if match else None


def _mentions(text: str, key: str) -> bool:
    """Whether an interpolation refers to a key."""
    return re.search(rf"(?<![\w.]){re.escape(key)}(?![\w])", text) is not None


def _take_from_command(wanted: dict[str, Any], given: Mapping[str, Any], touched: Sequence[str]) -> None:
    """Take caches, output paths, the number of processes and the way to start from the command."""
    for key in config.OF_COMMAND:
        wanted[key] = given[key]
    for key in (*places(given), *OF_MACHINE):  # a file must not decide how many processes to wait for
        _put(wanted, key, _get(given, key))
    if not any(config.below("data.root", part) for part in touched):
        for key in ("data.download", "data.source.download"):
            if _get(wanted, key) is not ABSENT:
                _put(wanted, key, False)


def _typed(wanted: dict[str, Any], path: Path) -> DictConfig:
    """The configuration with the types of the schema, its values checked to be in range."""
    try:
        cfg = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), OmegaConf.create(wanted))
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(f"ckpt_path={path}: cannot go on with these settings ({reason(error)})") from error
    assert isinstance(cfg, DictConfig)
    config.check_values(cfg)
    config.check_machine(cfg)
    return cfg


def _get(tree: Any, key: str) -> Any:
    """The value at a dotted key of nested dicts and lists, ABSENT if the key is missing."""
    for name in key.split("."):
        if isinstance(tree, Mapping) and name in tree:
            tree = tree[name]
        elif isinstance(tree, list) and name.isdecimal() and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return ABSENT
    return tree


def _put(tree: Any, key: str, value: Any) -> None:
    """Set the value at a dotted key of nested dicts and lists; ABSENT removes it."""
    *parents, name = key.split(".")
    for parent in parents:
        if isinstance(tree, list):
            tree = tree[int(parent)]
            continue
        if not isinstance(tree.get(parent), (dict, list)):
            tree[parent] = {}
        tree = tree[parent]
    if isinstance(tree, list):
        tree[int(name)] = value
    elif value is ABSENT:
        tree.pop(name, None)
    else:
        tree[name] = copy.deepcopy(value)


def _same_so_far(old: DictConfig, new: DictConfig, content: Mapping[str, Any]) -> bool:
    """Whether the tasks that have begun keep their number of epochs."""
    own = content[KEY]
    names, known = own["class_names"], tuple(own["known"])
    before, after = (config.scenario(cfg, names, known).tasks for cfg in (old, new))
    begun = [task.index for task in before if task.first_epoch <= content["epoch"]]
    return len(before) == len(after) and all(before[index] == after[index] for index in begun)


def _touched(command: Command) -> list[str]:
    """Keys that the command line sets; "" for all of them.

    Choosing a file of a group sets the group. If the file is global (`# @package _global_`), it sets all keys
    of the file.
    """
    keys: list[str] = []
    for override in command.overrides:
        key, _, choice = override.partition("=")
        key = key.lstrip("+~").split("@", 1)[0].strip("/")
        if key in command.groups:
            keys += [""] if key in WHOLE else [key, *_keys_for_the_top(command.folders, key, choice)]
        else:
            keys.append(key)
    return keys


def _keys_for_the_top(folders: Iterable[Path], group: str, choice: str) -> list[str]:
    for folder in folders:
        path = folder / group / f"{choice}.yaml"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if package(text, path.relative_to(folder)) == "":
                return [f"{key}.{name}" if isinstance(part, dict) else str(key)
                        for key, part in (yaml.safe_load(text) or {}).items() if key != "defaults"
                        for name in (part if isinstance(part, dict) else [""])]  # fmt: skip
    return []
