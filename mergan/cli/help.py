"""--help: what a door does, its keys with their meaning and default, examples.

Meanings and defaults are written only in the files of conf/; see mergan.config.comments.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from mergan.cli.door import Door
from mergan.config import CONF, comments

WIDTH = 100  # columns
MEANING = 30  # the column where meanings begin
ALL_KEYS = (
    "These are the keys used most. {command} --cfg job shows all of them with their values, and the files "
    "of {conf} say what they mean. --hydra-help lists the flags."
)


def text(door: Door, config_dir: Path | None = None) -> str:
    """The text that --help prints.

    Args:
        door: the command.
        config_dir: an additional folder of YAML files, whose choices are listed as well.
    """
    command = door.command
    parts = [f"usage: {command} {door.usage}", door.about.strip()]
    groups = comments.groups(door.name, config_dir) if door.composed else []
    if groups:
        rows = [row for group in groups for row in _group(group)]
        parts.append(
            "\n".join(["Groups (GROUP=NAME takes the file GROUP/NAME.yaml) and their defaults:", *rows])
        )
    parts.append("\n".join(["Keys and their defaults:", *_rows(_keys(door))]))
    examples = [f"  {command} {example}" for example in door.examples]
    parts.append("\n".join(["Examples:", *examples]))
    if door.keys:
        parts.append(
            textwrap.fill(ALL_KEYS.format(command=command, conf=CONF), WIDTH, break_long_words=False)
        )
    return "\n\n".join(parts)


def _keys(door: Door) -> list[comments.Key]:
    """The keys that a door shows, in order."""
    if door.keys:
        return [comments.documented(name, door.name) for name in door.keys]
    own = f"{door.name}."  # a door may keep its keys apart from others, below its own name
    found = [
        key
        for key in comments.keys(CONF / f"{door.name}.yaml")
        if key.default and "." not in key.name.removeprefix(own)
    ]
    for group in comments.groups(door.name) if door.composed else []:
        path = CONF / group.key.name / f"{group.key.default}.yaml"
        prefix = f"{group.key.name}."
        found += [key for key in comments.keys(path, prefix) if "." not in key.name.removeprefix(prefix)]
    return found


def _rows(keys: Sequence[comments.Key]) -> Iterator[str]:
    for key in keys:
        default = {"???": "...", "": "{...}"}.get(key.default, key.default)
        yield from _row(f"{key.name}={default}", key.meaning)


def _group(group: comments.Group) -> Iterator[str]:
    yield from _row(f"{group.key.name}={group.key.default}", group.key.meaning)
    if len(group.choices) > 1:
        yield from _wrapped(f"one of {', '.join(group.choices)}")


def _row(left: str, meaning: str) -> Iterator[str]:
    lines = list(_wrapped(meaning))
    if lines and len(left) + 4 <= MEANING:
        yield f"  {left}".ljust(MEANING) + lines.pop(0).lstrip()
    else:
        yield f"  {left}"
    yield from lines


def _wrapped(words: str) -> list[str]:
    indent = " " * MEANING
    return textwrap.wrap(words, WIDTH, initial_indent=indent, subsequent_indent=indent)
