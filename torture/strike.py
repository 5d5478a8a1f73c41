"""Run a script and strike at a chosen moment: python -m torture.strike BLOW SCRIPT ARGUMENTS...

The moments are those that Python itself announces to audit hooks (sys.addaudithook): a file is about to be
opened, renamed or locked. Nothing of the project is changed. BLOW is a Blow as JSON.
"""

from __future__ import annotations

import errno
import json
import os
import re
import runpy
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BALLAST = "ballast"  # the file that fills a disk
WRITING = re.compile(r"[wax+]")


@dataclass
class Blow:
    """When to strike, and what happens then.

    Attributes:
        event: "read", "write" or "append" (a file is about to be opened for it), "rename" or "lock".
        path: a regular expression; the path of the file, for a rename the new one, must match.
        nth: at the so-manieth such event.
        after: not before it but right after it, when the next event of any kind is announced.
        action: "kill" and "stop" are signals to the process itself; "half" cuts the file in two, and
            "tear" appends bytes that are no whole record, before they kill; "fill" fills the disk that
            `disk` lies on; "refuse" lets the system say that it is full.
        disk: see action.
    """

    event: str
    path: str
    nth: int = 1
    after: bool = False
    action: str = "kill"
    disk: str = ""

    def command(self, script: str, *arguments: str) -> list[str]:
        """The command line that runs a script, or "-m" and a module, with this blow."""
        return [sys.executable, "-m", "torture.strike", json.dumps(asdict(self)), script, *arguments]


class Hook:
    """The audit hook that waits for the moment."""

    def __init__(self, blow: Blow) -> None:
        self.blow, self.left, self.armed, self.done = blow, blow.nth, False, False
        self.pattern = re.compile(blow.path)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.done:
            return
        if self.armed:
            self.strike(None)
        seen = _understood(event, arguments)
        if seen is None or seen[0] != self.blow.event or not self.pattern.search(seen[1]):
            return
        self.left -= 1
        if self.left == 0 and self.blow.after:
            self.armed = True
        elif self.left == 0 or (self.left < 0 and self.blow.action == "refuse"):
            self.strike(seen[2])

    def strike(self, file: str | None) -> None:
        """Do it."""
        action = self.blow.action
        self.done = action != "refuse"  # a full disk stays full
        if action == "half" and file is not None:
            os.truncate(file, os.path.getsize(file) // 2)
        if action == "tear" and file is not None:
            with open(file, "ab") as handle:
                handle.write(b"0.12")
        if action == "refuse":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if action == "fill":
            fill(Path(self.blow.disk))
        else:
            os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)


def _understood(event: str, arguments: tuple[Any, ...]) -> tuple[str, str, str] | None:
    """An audit event as (event of a Blow, path to match, file to cut)."""
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
        if isinstance(mode, str):
            kind = "append" if "a" in mode else "write" if WRITING.search(mode) else "read"
        else:  # of os.open
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            kind = "append" if writes and flags & os.O_APPEND else "write" if writes else "read"
        return kind, path, path
    if event == "os.rename":
        return "rename", os.fsdecode(arguments[1]), os.fsdecode(arguments[0])
    if event == "fcntl.flock":
        with suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{arguments[0]}")
            return "lock", path, path
    return None


def fill(folder: Path) -> None:
    """Take all the room of the disk that `folder` lies on."""
    for size in (2**20, 2**12, 1):
        with suppress(OSError), open(folder / BALLAST, "ab", buffering=0) as ballast:
            while ballast.write(bytes(size)):
                pass


def main(arguments: list[str]) -> None:
    """Install the hook and become the script."""
    blow, script, *rest = arguments
    hook = Hook(Blow(**json.loads(blow)))
    if script == "-m":
        sys.argv = rest
        sys.path[0] = os.getcwd()
        sys.addaudithook(hook)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [script, *rest]
        sys.path[0] = str(Path(script).parent)
        sys.addaudithook(hook)
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
