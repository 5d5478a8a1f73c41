"""The documentation of keys in the files of conf/: the comment behind a key is its documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from mergan.config.composition import CONF

NOT_OURS = ("defaults", "hydra")  # at the top of a file: for Hydra


@dataclass(frozen=True)
class Key:
    """A key as its file documents it.

    Attributes:
        name: dotted, as you type it.
        default: its value, as written in the file; "" for a key with nested keys.
        meaning: the comment behind it, "" if there is none.
    """

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Group:
    """A folder of conf/; a configuration chooses one of its files.

    Attributes:
        key: the key with its default file, and the comment in the defaults list.
        choices: the names of all files, sorted.
    """

    key: Key
    choices: tuple[str, ...]


def keys(path: Path, prefix: str = "") -> list[Key]:
    """The keys of a YAML file in order, each before its nested keys, without `defaults` and `hydra`.

    Args:
        path: path of the file.
        prefix: put before every name, e.g. "evaluation.".
    """
    text = path.read_text(encoding="utf-8")
    node = yaml.compose(text)
    return list(_keys(node, text, prefix, NOT_OURS)) if node is not None else []


def documented(name: str, command: str = "train") -> Key:
    """A key of a command, looked up in the default file of its group, then in the other choices.

    Raises:
        KeyError: no file has it.
    """
    group = name.partition(".")[0]
    by_default = {each.key.name: each.key.default for each in groups(command)}
    if group in by_default:
        first = CONF / group / f"{by_default[group]}.yaml"
        files = sorted((CONF / group).glob("*.yaml"), key=lambda path: (path != first, path))
        found = [key for path in files for key in keys(path, f"{group}.")]
    else:
        found = []
    text = (CONF / f"{command}.yaml").read_text(encoding="utf-8")
    found += _keys(yaml.compose(text), text)  # it holds what the files of a group share
    for key in found:
        if key.name == name:
            return key
    raise KeyError(name)


def groups(command: str, further: Path | None = None) -> list[Group]:
    """The groups of a command in the order of the defaults list in its file.

    Args:
        command: the name of a file in conf/, e.g. "train".
        further: another folder of YAML files (--config-dir), whose choices are listed as well.
    """
    text = (CONF / f"{command}.yaml").read_text(encoding="utf-8")
    entries = next((value for key, value in yaml.compose(text).value if key.value == "defaults"), None)
    found = []
    for entry in entries.value if entries is not None else ():
        if not isinstance(entry, yaml.MappingNode):
            continue  # the schema, or the file itself
        for key, value in entry.value:
            folders = [folder / key.value for folder in (CONF, further) if folder is not None]
            choices = {path.stem for folder in folders for path in folder.glob("*.yaml")}
            if choices:
                own = Key(key.value, value.value, _comment(text, key, value))
                found.append(Group(own, tuple(sorted(choices))))
    return found


def _keys(
    node: yaml.MappingNode, text: str, prefix: str = "", without: tuple[str, ...] = ()
) -> Iterator[Key]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if key.value in without:
            continue
        below = isinstance(value, yaml.MappingNode)
        yield Key(name, "" if below else _source(text, value), _comment(text, key, value))
        if below:
            yield from _keys(value, text, f"{name}.")


def _source(text: str, value: yaml.Node) -> str:
    """A value as written in the file, on one line."""
    return " ".join(text[value.start_mark.index : value.end_mark.index].split())


def _comment(text: str, key: yaml.Node, value: yaml.Node) -> str:
    """The comment behind a value, or behind the key if the value continues below it."""
    line = text.splitlines()[key.end_mark.line]
    same = isinstance(value, yaml.ScalarNode) or value.end_mark.line == key.end_mark.line
    rest = line[value.end_mark.column if same else key.end_mark.column + 1 :].strip()
    return rest[1:].strip() if rest.startswith("#") else ""
