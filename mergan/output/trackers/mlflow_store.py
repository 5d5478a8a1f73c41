"""Where MLflow keeps runs, and how it wants names and values written (no torch)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mergan.system import files
from mergan.system.errors import ConfigError, reason

KEY = "logger.mlflow"
STORE = Path("runs") / "mlflow.db"
SQLITE = "sqlite:///"
FORBIDDEN = re.compile(r"[^\w./ -]")  # in the name of a metric or a parameter
LONGEST_NAME, LONGEST_VALUE = 250, 6000  # characters


def settled(uri: str | None) -> str:
    """The URI that a configuration means. The path of a SQLite file becomes absolute.

    Raises:
        ConfigError: it is a folder, where MLflow once kept runs.
    """
    if uri is None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{STORE}"
    if uri.startswith("file:") or ("://" not in uri and not uri.startswith("databricks")):
        raise ConfigError(f"{KEY}.tracking_uri={uri}: MLflow keeps no runs in folders; use sqlite:///PATH.db")
    place = sqlite_file(uri)
    return uri if place is None else f"{SQLITE}{place}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None for another store."""
    path = uri.removeprefix(SQLITE)
    return None if path in (uri, "", ":memory:") else Path(path).expanduser().absolute()


@contextmanager
def alone_in(uri: str) -> Iterator[None]:
    """Lock the file of a SQLite URI: of two processes that make its tables at once, one would fail.

    Raises:
        OSError: it cannot be written.
    """
    place = sqlite_file(uri)
    if place is None:
        yield
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.open("ab").close()
    if not os.access(place.parent, os.W_OK | os.X_OK):  # filelock would wait for ever
        raise PermissionError(errno.EACCES, "no lock can be made beside it")
    with files.alone(place):
        yield


def name_of(tag: str) -> str:
    """A name that MLflow takes for a metric: other characters are written as their codes.

    >>> name_of("recall/class_a<b")
    'recall/class_a_u003c_b'
    """
    name = FORBIDDEN.sub(lambda found: f"_u{ord(found[0]):04x}_", tag)
    if posixpath.normpath(name) != name:  # MLflow takes names for paths
        name = name.replace("/", "_u002f_")
    if len(name) > LONGEST_NAME:
        mark = hashlib.blake2s(name.encode()).hexdigest()[:8]  # so that long names stay different
        name = f"{name[: LONGEST_NAME - 1 - len(mark)]}_{mark}"
    return name


def as_text(value: Any) -> str:
    """A setting as MLflow takes it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:LONGEST_VALUE]


def innermost(error: Exception) -> str:
    """The innermost cause in short: MLflow's own message may hold a whole statement of SQL."""
    while isinstance(cause := error.__cause__ or error.__context__, Exception):
        error = cause
    return getattr(error, "strerror", None) or reason(error)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while, unless the user has."""
    own = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in own})
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]
