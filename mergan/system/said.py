"""Lines that the jobs of a sweep have in common are said once, where all jobs write to one terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_said: set[str] | None = None  # None: every line is said each time


@contextmanager
def once() -> Iterator[None]:
    """While the context is open, `say` leaves out a line that it has said in it before."""
    global _said
    _said = set()
    try:
        yield
    finally:
        _said = None


def say(log: logging.Logger, line: str, level: int = logging.INFO) -> None:
    """Log a line that may be the same for other jobs of the sweep."""
    if _said is not None and line in _said:
        return
    log.log(level, "%s", line)
    if _said is not None:
        _said.add(line)
