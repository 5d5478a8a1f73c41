"""Facts about a run in lines for the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from mergan.system.text import shortened, shown

LABEL = 12  # characters before a fact
LONGEST_NAME = 20  # characters
LONGEST_LIST = 60  # characters


def lines(facts: Mapping[str, str]) -> list[str]:
    """A line for each fact, the texts below one another.

    Args:
        facts: text by label, e.g. {"device": "cpu, 2 threads"}.
    """
    return [f"{label.ljust(LABEL)}{text}" for label, text in facts.items()]


def listed(names: Sequence[str]) -> str:
    """Names in a line: as many as fit, and how many there are if some are left out.

    >>> listed(["cat", "dog"])
    'cat, dog'
    """
    short = [shortened(shown(name), LONGEST_NAME) for name in names]
    whole = ", ".join(short)
    if len(whole) <= LONGEST_LIST:
        return whole
    kept = [name for place, name in enumerate(short) if len(", ".join(short[: place + 1])) <= LONGEST_LIST]
    return f"{', '.join(kept)}, ... ({len(names)} in all)"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "class", "classes"), counted(4000, "step")
    ('1 class', '4,000 steps')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def typed(path: Path, here: Path) -> str:
    """A path as it can be typed in a folder: relative if it lies inside, quoted where a shell needs it.

    Args:
        path: an absolute path.
        here: the folder, absolute.
    """
    inside = path.is_relative_to(here) and path != here
    return shown(shlex.quote(str(path.relative_to(here) if inside else path)))
