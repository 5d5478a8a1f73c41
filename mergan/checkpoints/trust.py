"""Which classes a configuration from a file may name: a checkpoint is data, never code."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mergan.config import CONF
from mergan.system.errors import CheckpointError, ConfigError, reason
from mergan.system.text import shortened

TARGET = "_target_"
FORBIDDEN = ("_args_", "_partial_", "_recursive_")  # Hydra's special keys besides the target
# collections whose entries have names that the user chooses
NAMED = (
    "callbacks",
    "logger",
    "evaluation.metrics",
    "evaluation.spaces",
    "evaluation.classifiers",
)
# their arguments may be files and folders to write to, and servers to send to
PLACES = ("trainer", "logger", "callbacks")
PLACE_KEY = re.compile(r"(path|dir|directory|folder|file|filename|root|uri|url|host)$", re.IGNORECASE)
PLACE_VALUE = re.compile(r"[/\\]|^[.~]|^online$")
PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)", re.MULTILINE)
LONGEST = 300  # characters of the full name of a class
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


@dataclass(frozen=True)
class Trust:
    """What a command accepts in the configuration of a file.

    Attributes:
        targets: by slot (`strategy`, `network.generator`, `callbacks.*`), the full names of the classes that
            the command's YAML files and overrides put there.
        modules: additional modules whose classes are allowed anywhere (`trust=[module,...]`).
        places: keys of loggers, callbacks and Trainer that the command itself sets to a file or folder.
    """

    targets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()

    def check(self, config: Mapping[str, Any], source: str) -> None:
        """Refuse a configuration that names anything else. A refused name is never imported or looked up.

        Args:
            config: plain dicts and lists.
            source: where it comes from, for messages, e.g. "checkpoint last.ckpt".

        Raises:
            CheckpointError: a target that is not allowed (the message gives the `trust=` that would allow
                it), a node with one of Hydra's other special keys, an interpolation, or an output path.
        """
        for slot, key, node in _nodes(config):
            if isinstance(node, str):
                if "${" in node or node == "???":
                    raise CheckpointError(
                        f"{source}: its configuration has {key}={node!r}, which is no value; mergan stores "
                        "values only"
                    )
                if is_place(slot, key, node) and key not in self.places:
                    raise CheckpointError(
                        f"{source}: its configuration has {key}={node!r}; where to write comes from the "
                        f"command alone: give {key}= there"
                    )
                continue
            if TARGET in node:
                self._check_target(node[TARGET], slot, key, source)
            for word in FORBIDDEN:
                if word in node:
                    raise CheckpointError(
                        f"{source}: its configuration has {key}.{word}, which only a command may say"
                    )

    def _check_target(self, target: Any, slot: str, key: str, source: str) -> None:
        if not isinstance(target, str) or not DOTTED.fullmatch(target):
            wrong = shortened(repr(target), LONGEST)
            raise CheckpointError(f"{source}: {key}.{TARGET}={wrong} is not the full name of a class")
        if target in self.targets.get(slot, ()):
            return
        if len(target) > LONGEST:
            target = shortened(target, LONGEST)
            raise CheckpointError(f"{source}: {key} is {target}, which is not the name of a class")
        module, name = target.rsplit(".", 1)
        if module not in self.modules:
            raise CheckpointError(
                f"{source}: {key} is {target}, which is not mergan's own and which this command does not "
                f"name; its code would run. If you trust it: trust=[{module}], with the folder that holds "
                "the module in PYTHONPATH"
            )
        try:
            found = getattr(importlib.import_module(module), name, None)
        except Exception as error:  # importing a module may raise anything
            raise CheckpointError(
                f"{source}: {key} is {target}, but the module {module} cannot be imported ({reason(error)}); "
                "add the folder that holds it to PYTHONPATH"
            ) from error
        if not isinstance(found, type):
            raise CheckpointError(f"{source}: {key} is {target}, but the module {module} has no class {name}")
        if found.__module__ not in self.modules:
            raise CheckpointError(
                f"{source}: {key} is {target}, which is defined in {found.__module__}; "
                f"to allow it: trust=[{module},{found.__module__}]"
            )


def of_this_command(cfg: DictConfig) -> Trust:
    """What the running command trusts: the classes that conf/, its `--config-dir` and its overrides name, and
    the modules of its `trust=`.

    Raises:
        ConfigError: `trust=` names no modules.
    """
    own = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    return of_command(own, folders_of_this_command(), list(cfg.trust))


def folders_of_this_command() -> list[Path]:
    """The folders of the running command's YAML files: conf/ and its `--config-dir`."""
    folders = [CONF]
    if HydraConfig.initialized():
        sources = HydraConfig.get().runtime.config_sources
        folders += [Path(source.path) for source in sources if source.schema == "file" and source.path]
    return list(dict.fromkeys(folders))


def of_command(own: Any, folders: Iterable[Path], modules: Sequence[Any] = ()) -> Trust:
    """What a command trusts.

    Args:
        own: its composed configuration as plain dicts and lists, or None.
        folders: the folders of its YAML files (conf/, --config-dir).
        modules: its `trust=`.

    Raises:
        ConfigError: `trust=` names no modules.
    """
    targets: dict[str, set[str]] = {}
    for folder in folders:
        for slot, target in _gathered(folder):
            targets.setdefault(slot, set()).add(target)
    for slot, target in _targets(own or {}):
        targets.setdefault(slot, set()).add(target)
    for module in modules:
        if not isinstance(module, str) or not all(part.isidentifier() for part in module.split(".")):
            raise ConfigError(
                f"trust={module}: use the full names of modules, e.g. trust=[my_package.strategies]"
            )
    return Trust(
        {slot: frozenset(names) for slot, names in targets.items()},
        frozenset(modules),
        frozenset(places(own or {})),
    )


def places(config: Mapping[str, Any]) -> list[str]:
    """The keys of loggers, callbacks and Trainer whose values name files or folders."""
    return [key for slot, key, node in _nodes(config) if isinstance(node, str) and is_place(slot, key, node)]


def is_place(slot: str, key: str, value: str) -> bool:
    """Whether a value of loggers, callbacks and Trainer may name a file or folder; if in doubt, yes."""
    name = key.rsplit(".", 1)[-1]
    if slot.split(".")[0] not in PLACES or name == TARGET:
        return False
    return bool(PLACE_KEY.search(name) or PLACE_VALUE.search(value))


@functools.cache
def _gathered(folder: Path) -> tuple[tuple[str, str], ...]:
    """Slot and target of every node with a target in the YAML files of a folder and its subfolders."""
    found: list[tuple[str, str]] = []
    for path in sorted(folder.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        try:
            content = yaml.safe_load(text)
        except (
            yaml.YAMLError
        ):  # a file that Hydra does not need may hold anything; Hydra reports the others itself
            continue
        found += _targets(content, package(text, path.relative_to(folder)))
    return tuple(found)


def package(text: str, path: Path) -> str:
    """The key where Hydra puts the content of a configuration file: its `@package` or its folder, "" for top.

    Args:
        text: text of the file.
        path: path of the file, relative to the configuration folder.
    """
    header = PACKAGE.search(text.split("\n\n", 1)[0])
    if header is None:
        return ".".join(path.parent.parts)
    return "" if header[1] == "_global_" else header[1]


def _targets(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for slot, _, node in _nodes(content, prefix):
        if isinstance(node, Mapping) and isinstance(node.get(TARGET), str):
            yield slot, node[TARGET]


def _nodes(content: Any, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every dict and string of a configuration with its slot and its key, the whole configuration first.

    The slot of a list item, and of an entry that the user has named, ends with `*`.
    """
    waiting = [(prefix, prefix, content)]
    while waiting:
        slot, key, node = waiting.pop()
        if isinstance(node, (Mapping, str)):
            yield slot, key, node
        if isinstance(node, Mapping):
            for name, part in node.items():
                below = f"{slot}.{'*' if slot in NAMED else name}".lstrip(".")
                waiting.append((below, f"{key}.{name}".lstrip("."), part))
        elif isinstance(node, (list, tuple)):
            waiting += [(f"{slot}.*", f"{key}[{index}]", part) for index, part in enumerate(node)]
