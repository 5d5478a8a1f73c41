"""Signals that ask the program to end. While it trains they are taken between two steps."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CTRL_C, ASKED_TO_END = 130, 143  # exit status

# SIGTERM also comes from schedulers; Slurm and submitit announce the end of a job's time with SIGUSR1 or
# SIGUSR2, and a closed terminal sends SIGHUP. Windows lacks some of them.
# A signal within this many seconds of the first is taken for the same one: `timeout` sends each twice.
SAME = 1.0
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Interrupted(BaseException):
    """A signal arrived. Not an Exception, so that nothing on the way takes it for a failed job.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = CTRL_C if number == signal.SIGINT else ASKED_TO_END


_deferring = False
_received: int | None = None
_received_at = 0.0


def install() -> None:
    """Take the signals that nobody else takes and that are not ignored (nohup, a launcher's own)."""
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _receive)


@contextmanager
def deferred() -> Iterator[None]:
    """While this is open a signal waits for the next `check`, so that no library is torn out of the middle of
    what it does; TensorBoard's writer could then keep the program from ending. Who asks again does not wait.
    """
    global _deferring
    _deferring = True
    try:
        yield
    finally:
        _deferring = False
    check()


def check() -> None:
    """Raise what has arrived in the meantime.

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
