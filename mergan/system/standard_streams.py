"""Make standard streams safe: a closed stream, a full disk or a lost reader must not end a run."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import IO, Any, NoReturn

NAMES = ("stdin", "stdout", "stderr")  # by file descriptor
OUTPUTS = {1: "standard output", 2: "standard error"}
LEFT = (errno.EPIPE, errno.EBADF)  # the reader closed it and knows: no message is needed


def secure() -> None:
    """Make the standard streams of this process accept everything that is written to them.

    Closed descriptors 0 to 2 are first opened on the null device. Otherwise a file of the run could get one
    of them, and receive what libraries write to standard error. An output that fails later (a full disk,
    `| head -1`) goes to the null device from then on. The other output reports a full disk, once. Characters
    that an output cannot encode are written as escapes. A second call changes nothing.
    """
    for descriptor, name in enumerate(NAMES):
        _open_missing(descriptor)
        stream = getattr(sys, name)
        if stream is None:  # Python found it closed
            stream = open(descriptor, "r" if descriptor == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            _replace(name, stream)
        if descriptor in OUTPUTS and _plain(stream, descriptor):
            _replace(name, _lasting(stream, descriptor))


def leave(status: int = 0) -> NoReturn:
    """End this process, whose files are closed, without taking the interpreter apart. With PyTorch that
    takes a second and a half.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def silence() -> None:
    """Send what this process prints to standard output from now on to the null device."""
    _replace("stdout", open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


class Lasting(io.FileIO):
    """An output descriptor whose writes never fail: the first failure redirects it to the null device.

    Args:
        descriptor: 1 or 2; it stays open when this object is deleted.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.descriptor = descriptor

    def write(self, data: Any) -> int:
        """Write all of `data`; returns its length in bytes, even if writing failed."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        while len(rest) > 0:
            try:
                written = super().write(rest)
                if written is None:  # set to non-blocking by another process on the same terminal
                    select.select([], [self.descriptor], [])
                else:
                    rest = rest[written:]
            except OSError as error:
                self._give_up(error)
                break
        return length

    def _give_up(self, error: OSError) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.descriptor)
        os.close(null)
        if error.errno in LEFT:
            return
        other = sys.stderr if self.descriptor == 1 else sys.stdout
        with suppress(ValueError):  # it is closed too: nobody can read a message
            print(f"{OUTPUTS[self.descriptor]} is lost from here on ({error.strerror}); the work goes on",
                  file=other, flush=True)  # fmt: skip


def _open_missing(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null == descriptor:
            os.set_inheritable(null, True)
        else:
            os.dup2(null, descriptor)
            os.close(null)


def _plain(stream: IO[str], descriptor: int) -> bool:
    """Whether a stream is Python's own on that descriptor: not made by `secure`, nor captured by a test."""
    if not isinstance(stream, io.TextIOWrapper):
        return False
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return type(raw) is io.FileIO and raw.fileno() == descriptor


def _lasting(stream: io.TextIOWrapper, descriptor: int) -> io.TextIOWrapper:
    """The same stream on a `Lasting` descriptor."""
    raw = Lasting(descriptor)
    try:
        stream.flush()
    except OSError as error:
        raw._give_up(error)
    unbuffered = not hasattr(stream.buffer, "raw")  # python -u
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),  # type: ignore[arg-type]
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _replace(name: str, stream: IO[str]) -> None:
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)  # Python restores this one when it exits
