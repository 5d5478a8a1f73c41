"""The command `mergan` and `python -m mergan`: the doors of the package under one name."""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mergan import __version__
from mergan.cli.guard import guard
from mergan.system.errors import ConfigError
from mergan.system.interpreter import run_and_leave
from mergan.system.text import shown

DOORS = ("train", "sample", "export", "evaluate", "report", "search", "reproduce")
HELP = """\
usage: mergan COMMAND [KEY=VALUE ...]

Teach one conditional generator new classes, one task after another, and measure what it forgets.

{doors}

mergan COMMAND --help shows the keys of a command and examples; mergan --version the version.
python -m mergan COMMAND and python -m mergan.COMMAND do the same."""


def _listed() -> str:
    """One line per door: the first line of its docstring, which is read without importing anything."""
    rows = []
    for name in DOORS:
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        first, *_ = (ast.get_docstring(ast.parse(source)) or "").splitlines()
        rows.append(f"  {name:<12}{first}")
    return "\n".join(rows)


def _answer(words: Sequence[str]) -> None:
    """Answer a command line that does not name a door."""
    word = words[0] if words else "--help"
    if word == "--version":
        print(f"mergan {__version__}")
        return
    if word in ("-h", "--help"):
        print(HELP.format(doors=_listed()))
        return
    near = difflib.get_close_matches(word, DOORS, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{shown(word) or repr(word)}: there is no such command; {meant}mergan --help lists them"
    )


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    words = list(sys.argv[1:] if typed is None else typed)
    if not words or words[0] not in DOORS:
        return guard(None, words, _answer)
    door = importlib.import_module(f"mergan.{words[0]}")
    status: int = door.main(words[1:])
    return status


def command() -> NoReturn:
    """What the installed `mergan` runs."""
    run_and_leave(main)


if __name__ == "__main__":
    command()
