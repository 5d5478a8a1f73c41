"""Signals that ask the program to end. During training they take effect between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STATUSES = CTRL_C, ASKED_TO_END = 130, 143  # exit status

# Schedulers send SIGTERM too. Slurm and submitit announce the end of a job's time with SIGUSR1 or SIGUSR2. A
# closed terminal sends SIGHUP. Windows lacks some of them.
# A signal within this many seconds of the first counts as the same one: `timeout` sends each twice.
SAME = 1.0
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Interrupted(BaseException):
    """A signal arrived. It is not an Exception, so that no handler takes it for a failed job.

    Args:
        number: number of the signal.

    Attributes:
        exit_status: that of the program.
        remedy: what to say behind "stopped", set by who knows more than how to resume the run.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.remedy = ""
        self.exit_status = CTRL_C if number == signal.SIGINT else ASKED_TO_END


_deferring = False
_received: int | None = None
_received_at = 0.0


def install() -> None:
    """Handle the signals that have no other handler and are not ignored (nohup, a launcher's own)."""
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _receive)


def is_foreign(number: int) -> bool:
    """Whether somebody else handles a signal, so that it must be left to him. Only the main thread may set
    handlers; in other threads the answer is no.
    """
    own = (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, _receive, None)
    return threading.current_thread() is threading.main_thread() and signal.getsignal(number) not in own


@contextmanager
def handled() -> Iterator[None]:
    """`install` for as long as this context is open: for a process that takes job after job."""
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    install()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """While this context is open, delay a signal until the next `check`, so that it interrupts no library. An
    interrupted TensorBoard writer could keep the program from ending. A second signal takes effect at once.
    """
    global _deferring
    _deferring = True
    try:
        yield
    finally:
        _deferring = False
    check()


def check() -> None:
    """Raise a signal that has arrived in the meantime.

    Raises:
        Interrupted: a signal has arrived.
    """
    if _received is not None:
        raise Interrupted(_received)


def _receive(number: int, frame: Any) -> None:
    global _received, _received_at
    now = time.monotonic()
    if _deferring and _received is None:
        _received, _received_at = number, now
    elif not _deferring or now - _received_at > SAME:
        raise Interrupted(number)
