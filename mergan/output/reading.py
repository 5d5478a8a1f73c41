"""Read the files of a run folder as data: no code, no interpolation, nothing of absurd size.

The folder may come from somebody else. This module needs no torch.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import stat
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mergan.system.errors import ConfigError, reason
from mergan.system.text import shown

CONFIG_LIMIT = 2**18  # bytes; the configuration of a run has a few thousand
TEXT_LIMIT = 2**24  # bytes of figures or of a matrix
DEPTH = 32  # of nested entries in a configuration
PIXELS = 2**25  # of a picture
WORDS = "evaluation_"  # figures with this prefix may be text
TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Matrix:
    """A `NAME_matrix.csv`.

    Attributes:
        classes: the names of the columns, those of tasks in a matrix with a column per task.
        rows: one per task, one value per class; None where the class had not been seen.
    """

    classes: list[str]
    rows: list[list[float | None]]

    @property
    def per_task(self) -> bool:
        """Whether it has a column per task."""
        return all(re.fullmatch(r"before|task_\d{2,}", name, re.ASCII) for name in self.classes)


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: it is not a regular file, is larger, or cannot be read.
    """
    # opening a FIFO would wait for a writer; a link may lead anywhere on the reader's disk
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        handle = os.open(path, flags)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise _refused(path, "not a regular file")
            content = file.read(limit + 1) if status.st_size <= limit else None
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(path, "is a link; put the file itself there") from error
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise _refused(path, "not a regular file") from error
        raise _refused(path, f"cannot be read ({error.strerror})") from error
    if content is None or len(content) > limit:
        raise _refused(path, f"larger than the {limit} bytes that a run writes there at most")
    return content


def read_text(path: Path, limit: int = TEXT_LIMIT) -> str:
    """Like `read_bytes`, for UTF-8 text."""
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(path, "cannot be read (not text in UTF-8)") from error


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of a run as plain values; `${...}` stays text.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: it is not a YAML mapping of plain values, or is nested too deeply.
    """
    text = read_text(path, CONFIG_LIMIT)
    try:
        content = yaml.load(text, Loader=_PlainLoader)  # makes plain values only
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = getattr(error, "problem", None) or reason(error)
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise _refused(path, f"cannot be read ({problem}{line})") from error
    if not isinstance(content, dict):
        raise _refused(path, "cannot be read (no mapping of settings)")
    return content


def read_figures(path: Path) -> dict[str, float | str]:
    """The final figures of a run (`metrics.json`).

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: it is not a flat JSON object of finite numbers; text is allowed under `evaluation_*`.
    """
    text = read_text(path)
    if not text.strip():
        raise _refused(path, "cannot be read (the file is empty)")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"cannot be read ({reason(error)})") from error
    if not isinstance(content, dict):
        raise _refused(path, "cannot be read (no object of figures)")
    for key, value in content.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
        if not number and not (isinstance(value, str) and key.startswith(WORDS)):
            raise _refused(path, f"cannot be read ({key[:60]!a} is not a finite number)")
    return content


def read_sessions(path: Path) -> list[dict[str, Any]]:
    """The sessions of a run (`provenance.json`), see mergan.run.provenance; none if the file does not exist.

    Raises:
        ConfigError: it holds no list of JSON objects.
    """
    try:
        content = json.loads(read_text(path, CONFIG_LIMIT))
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"cannot be read ({reason(error)}); remove it to go on without it") from error
    sessions = content.get("sessions") if isinstance(content, dict) else None
    if not isinstance(sessions, list) or not all(isinstance(session, dict) for session in sessions):
        raise _refused(path, "cannot be read (no list of sessions); remove it to go on without it")
    return sessions


def read_matrix(path: Path) -> Matrix:
    """A matrix (task x class) of a run.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: an invalid header, a line of another length, a cell that is not a finite number, or a
            matrix without any value. A row may be empty: too few images for the metric so far.
    """
    try:
        lines = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise _refused(path, f"cannot be read ({reason(error)})") from error
    if len(lines) < 2 or len(lines[0]) < 2 or lines[0][0] != "task":
        raise _refused(path, "cannot be read (no column of tasks, one per class, and a line per task)")
    width = len(lines[0])
    rows = []
    for index, line in enumerate(lines[1:]):
        place = f"line {index + 2}"
        if len(line) != width or line[0] != str(index):
            raise _refused(path, f"cannot be read ({place} is not the {width} cells of task {index})")
        row = [_number(cell) if cell else None for cell in line[1:]]
        if any(value is not None and math.isnan(value) for value in row):
            raise _refused(path, f"cannot be read ({place} has a cell that is no number)")
        rows.append(row)
    if all(value is None for row in rows for value in row):
        raise _refused(path, "cannot be read (it holds no numbers)")
    return Matrix(lines[0][1:], rows)


def _number(cell: str) -> float:
    """The number in a cell, NaN for anything else."""
    value = float(cell) if re.fullmatch(r"-?\d{1,300}(\.\d*)?(e[+-]?\d{1,2})?", cell, re.ASCII) else math.nan
    return value if math.isfinite(value) else math.nan


def check_picture(path: Path) -> None:
    """Check that a file is a complete PNG of a sensible size.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: it is something else.
    """
    from PIL import Image

    content = read_bytes(path, 4 * PIXELS)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.width * image.height > PIXELS:
                raise ConfigError(
                    f"{path}: {image.width} x {image.height} pixels, more than the {PIXELS} that are drawn"
                )
            if image.mode not in ("L", "RGB"):
                raise _refused(path, f"cannot be read (mode {image.mode}, not grey or RGB)")
            image.load()
    except ConfigError:
        raise
    except Exception as error:  # Pillow raises many kinds of errors for files that are not pictures
        raise _refused(path, f"cannot be read (no whole PNG: {reason(error)})") from error


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(shown(f"{path}: {why}"))


class _PlainLoader(yaml.SafeLoader):
    """Mappings, lists, text, numbers, true, false and null; no aliases, no tags of other types.

    Numbers are recognised as OmegaConf does when it writes and reads a configuration.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "an alias (*)", event.start_mark)
        self.depth += 1
        if self.depth > DEPTH:
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "nested too deep", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool)) or key in mapping:
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is no word or stands there twice", key_node.start_mark
                )
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


_PATTERNS = {
    "bool": (r"true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF", "tTfFyYnNoO"),
    "int": (r"[-+]?(0|[1-9][0-9]{0,17})", "-+0123456789"),
    "float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,4})?|[-+]?\.(inf|Inf|INF)"
        r"|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}
_PlainLoader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _PATTERNS.items():
    _PlainLoader.add_implicit_resolver(TAG + _name, re.compile(rf"(?:{_pattern})\Z"), list(_first))
_PlainLoader.yaml_constructors = {
    TAG + name: constructor
    for name, constructor in (
        ("null", lambda loader, node: None),
        ("bool", yaml.SafeLoader.construct_yaml_bool),
        ("int", lambda loader, node: int(node.value)),
        ("float", lambda loader, node: float(re.sub(r"\.(?=[inIN])", "", node.value))),
        ("str", yaml.SafeLoader.construct_yaml_str),
        ("seq", yaml.SafeLoader.construct_yaml_seq),
        ("map", yaml.SafeLoader.construct_yaml_map),
    )
} | {None: yaml.SafeLoader.construct_undefined}
