"""What Python spends on itself: the garbage collector during imports, and taking the interpreter apart."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from mergan.system import standard_streams


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector, if it is on, for as long as the context is open.

    An import makes objects and no garbage, but Python looks at all of them again and again: that is 0.9 s of
    the 3.1 s that it takes to import Lightning.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()  # and back: into the oldest generation, which is not looked at right away
            gc.unfreeze()
        if was_on:
            gc.enable()


def keep_what_is_there() -> None:
    """Never collect the objects that exist now. For a process of our own, after its imports and before its
    first training: a later collection looks at what the trainings have left, not at half a million objects of
    the libraries (0.3 s, in every seventh job of a sweep of smoke runs).
    """
    if not gc.get_freeze_count():
        gc.freeze()


def run_and_leave(main: Callable[[], int]) -> NoReturn:
    """End this process with the status that `main` returns, without taking the interpreter apart. With
    PyTorch that takes more than a second.

    What was registered with atexit after the call still runs.
    """
    status = 1  # of an exception that nobody expects

    def leave() -> None:
        standard_streams.leave(status)

    atexit.register(leave)  # registered first, so called last
    try:
        status = main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    sys.exit(status)
