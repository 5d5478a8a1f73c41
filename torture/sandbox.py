"""A small world around one command: what it may write to, what it must leave alone, and a canary."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

SECRET = "canary-6f1d0c"  # value of the variable below; whoever interpolates a file's strings gives it away
VARIABLE = "TORTURE_SECRET"
MODULE = "lying_about"  # lies in the working directory and leaves a trace when it is imported
RAN = "ran"  # the trace that code leaves


@dataclass(frozen=True)
class Entry:
    """What is remembered of a file or folder; a file that is written over is another one."""

    mode: int
    size: int
    changed: int
    inode: int


@dataclass(frozen=True)
class Sandbox:
    """Folders around a command.

    Attributes:
        root: holds all the others.
        template: `work/cache` and `given` are copied from here.
    """

    root: Path
    template: Path

    @property
    def work(self) -> Path:
        """The working directory."""
        return self.root / "work"

    @property
    def given(self) -> Path:
        """The run folder that somebody has sent, with the altered checkpoint."""
        return self.root / "given"

    @property
    def checkpoint(self) -> Path:
        """Where the altered checkpoint lies."""
        return self.given / "checkpoints" / "last.ckpt"

    @property
    def canary(self) -> Path:
        """A folder that alterations point to and that no command has any business in."""
        return self.root / "canary"

    def renew(self) -> None:
        """Lay everything out anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("home", "tmp", "out", "work"):
            (self.root / name).mkdir(parents=True)
        (self.root / "home" / "notes.txt").write_text("of the user\n", encoding="utf-8")
        (self.canary / "data").mkdir(parents=True)
        shutil.copytree(self.template / "cache", self.work / "cache")
        shutil.copytree(self.template / "given", self.given)
        trace = f"from pathlib import Path\nPath({str(self.canary / RAN)!r}).touch()\n"
        (self.work / f"{MODULE}.py").write_text(f"{trace}\nclass Generator:\n    pass\n", encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Variables of the command, beside those of this process."""
        return {
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            VARIABLE: SECRET,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def look(self) -> dict[str, Entry]:
        """Everything in it, by path."""
        found = {}
        for path in self.root.rglob("*"):
            stat = path.lstat()
            # a folder's own times change with every temporary file that comes and goes
            file = not path.is_dir()
            values = (stat.st_size, stat.st_mtime_ns, stat.st_ino) if file else (0, 0, 0)
            found[str(path.relative_to(self.root))] = Entry(stat.st_mode, *values)
        return found

    def touched(self, before: dict[str, Entry], allowed: tuple[str, ...]) -> list[str]:
        """Paths that are new, gone or changed since `before`, apart from those below `allowed`."""
        now = self.look()
        paths = {path for path in {*before, *now} if before.get(path) != now.get(path)}
        return sorted(
            path for path in paths if not any(f"{path}/".startswith(f"{part}/") for part in allowed)
        )

    def leaks(self, before: dict[str, Entry]) -> list[str]:
        """Files that have come to hold the secret, or to be called by it."""
        found = []
        for path, entry in self.look().items():
            if before.get(path) == entry:
                continue
            file = self.root / path
            if SECRET in path or (file.is_file() and SECRET.encode() in file.read_bytes()):
                found.append(path)
        return found
