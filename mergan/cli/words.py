"""Check the command line before Hydra reads it, so that errors are reported in plain words."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from mergan import config
from mergan.system.errors import ConfigError
from mergan.system.text import shortened

FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
LAUNCHER = "hydra/launcher"
MANY = ("experiment", "debug", "callbacks", "logger", "sweep")  # you may choose several files of these groups
RENAMED = {"acgan": "learner"}  # keys by their old names
KEY = re.compile(r"[\w.@/+~:-]+", re.ASCII)
OLD = re.compile(rf"([+~]*)({'|'.join(RENAMED)})(?![\w-])", re.ASCII)
SHOWN = 200  # characters of a word


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the flags as Hydra does; the other words become `overrides`.

    Raises:
        ConfigError: an unknown flag.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # instead of its usage in eight lines
    return parser.parse_intermixed_args(list(words))


def prepare(words: Sequence[str]) -> list[str]:
    """The same command line with its flags in front, where Hydra finds them, and with `~` resolved in folders
    that Hydra makes.

    Args:
        words: the words after the name of the program.

    Raises:
        ConfigError: an unknown flag, or an override that cannot be read; the message names the word and says
            how to write it.
    """
    args = parse(words)
    flags, rest = [], list(args.overrides)
    if args.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: runs code from a file, which no command here does")
    if not args.shell_completion:
        sweep = args.multirun or any(word.startswith("hydra.mode=") for word in args.overrides)
        args.overrides = overrides(args.overrides, sweep)
    for word in words:
        if rest and word == rest[0]:
            rest.pop(0)
        else:
            flags.append(word)
    return [*flags, *args.overrides]


def overrides(words: Sequence[str], sweep: bool = False) -> list[str]:
    """The overrides of a command line, checked and written as Hydra should read them.

    Args:
        words: KEY=VALUE, +KEY=VALUE, ~KEY.
        sweep: whether a key may have several values.

    Raises:
        ConfigError: an override cannot be read or makes no sense; see `prepare`.
    """
    reader = OverridesParser.create()
    ready = []
    for word in words:
        if old := OLD.match(word):
            name = RENAMED[old[2]]
            instead = shortened(f"{old[1]}{name}{word[old.end() :]}", SHOWN)
            raise ConfigError(f"{shortened(word, SHOWN)}: {old[2]}.* is called {name}.* now; write {instead}")
        override = _read(word, reader)
        _check(override, word, sweep)
        ready.append(_from_home(override, word))
    return ready


def _from_home(override: Override, word: str) -> str:
    """The word with `~` expanded if it names a folder for Hydra, which does not expand `~`."""
    value = override.value() if override.key_or_group in FOLDERS and not override.is_delete() else None
    if not isinstance(value, str) or not value.startswith("~"):
        return word
    try:
        place = str(Path(value).expanduser())
    except RuntimeError as error:
        raise ConfigError(f"{word}: there is no such home folder; write the path out") from error
    return quoted(override.key_or_group, place)


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"command line: {message}; --hydra-help lists the flags")


def _read(word: str, reader: OverridesParser) -> Override:
    """Parse an override with Hydra.

    Raises:
        ConfigError: Hydra cannot read it.
    """
    try:
        return reader.parse_override(word)
    except (HydraException, RecursionError) as error:
        raise ConfigError(_remedy(word)) from error


def _remedy(word: str) -> str:
    """The message for a word that does not fit Hydra's grammar."""
    key, equals, value = word.partition("=")
    shown = word if len(word) <= SHOWN else f"{word[:SHOWN]}..."
    if not equals:
        return f"{shown!r}: a setting is written KEY=VALUE"
    if not KEY.fullmatch(key):
        return f"{shown}: {key[:SHOWN]!r} is no name of a key; a setting is written KEY=VALUE"
    if value.startswith("="):
        return f"{shown}: write a single =, as in {shown.replace('==', '=', 1)}"
    advice = f", or have it taken as it stands with {literal(key, value)}" if word == shown else ""
    return f"{shown}: this value cannot be read; close its brackets and quotes{advice}"


def literal(key: str, value: str) -> str:
    """A word for the shell that sets a key to a text with any characters."""
    if re.fullmatch(r"[\w./:+-]+", value, re.ASCII):
        return f"{key}={value}"
    word = quoted(key, value)
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'


def key_of(word: str) -> str:
    """The key of an override."""
    return word.lstrip("+~").partition("=")[0]


def again(command: str, typed: Sequence[str], without: Collection[str], *further: str) -> str:
    """A command line, quoted for the shell, that repeats another one.

    Args:
        command: its name, e.g. `python train.py`.
        typed: the words after it.
        without: keys whose words are left out.
        *further: words for the shell that come last.
    """
    kept = [shlex.quote(word) for word in typed if key_of(word) not in without]
    return " ".join([command, *kept, *further])


def quoted(key: str, value: str) -> str:
    """A word for Hydra that sets a key to a text."""
    # Hydra reads a backslash literally, unless a quote follows
    quoted = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"{key}='{quoted}'"


def _check(override: Override, word: str, sweep: bool) -> None:
    """Refuse an override that Hydra can read but that makes no sense."""
    key = override.key_or_group
    if not key:
        raise ConfigError(f"{word}: names no key; a setting is written KEY=VALUE")
    if override.is_sweep_override():
        if not sweep:
            raise ConfigError(
                f"{word}: several values are a sweep, for which the command has -m; "
                f"a list is written {key}=[...], and a text with a comma in quotes"
            )
        return
    if override.is_delete():
        return
    value = override.value()
    if key == LAUNCHER and not sweep:
        raise ConfigError(f"{word}: starts the jobs of a sweep, for which the command has -m")
    if key in FOLDERS and value in ("", None):
        raise ConfigError(f"{word}: name a folder")
    fits = isinstance(value, (str, dict)) or (isinstance(value, list) and key in MANY)
    if (config.CONF / key).is_dir() and not fits:
        names = ", ".join(sorted(path.stem for path in (config.CONF / key).glob("*.yaml")))
        raise ConfigError(f"{word}: choose one of {names}")
