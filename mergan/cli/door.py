"""What the command line knows about a door: its name, how you call it, and what its --help shows."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Door:
    """A command of the package.

    Attributes:
        name: as you type it; conf/NAME.yaml holds its keys.
        about: what it does; the list of doors shows the first line.
        usage: what you type after the name.
        examples: further command lines, without the name.
        keys: the keys that --help shows; empty: all of conf/NAME.yaml.
        composed: whether Hydra composes its configuration.
        first: the key that a word without "=" sets; empty: there is no such key.
    """

    name: str
    about: str
    usage: str
    examples: tuple[str, ...]
    keys: tuple[str, ...] = ()
    composed: bool = True
    first: str = ""

    @property
    def command(self) -> str:
        """The command that started it, as typed: `mergan sample`, `python -m mergan.sample`,
        `python train.py`.
        """
        module = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", "")
        if module == "mergan.__main__":
            return f"python -m mergan {self.name}"
        if module.startswith("mergan."):
            return f"python -m {module}"
        script = Path(sys.argv[0])
        return f"python {shlex.quote(str(script))}" if script.suffix == ".py" else f"mergan {self.name}"
