"""What a table of the documentation is: jobs that make its runs, and what is written of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mergan import config
from mergan.config import slots
from mergan.reproducing.jobs import Job
from mergan.system.errors import ConfigError
from mergan.system.text import shown

TABLES = config.CONF / "reproduce"
TABLE = "table"  # name of the text that every table has


class Table(ABC):
    """A table of the documentation, a file of conf/reproduce each.

    Attributes:
        rows: the words that make each row, by its name.
    """

    rows: Mapping[str, Sequence[str]]

    @abstractmethod
    def stages(self, folder: Path, only: Collection[str], overrides: Sequence[str]) -> list[list[Job]]:
        """The jobs that make the runs; those of a stage need the stages before to be done.

        Args:
            folder: the folder of the table.
            only: the rows to make.
            overrides: KEY=VALUE for every job.

        Raises:
            ConfigError: a job would be refused, or a folder holds the run of other settings or files that
                cannot be read.
        """

    @abstractmethod
    def texts(self, folder: Path) -> dict[str, str]:
        """Markdown by name, of the runs in a folder: "table", and what the table has besides."""

    @abstractmethod
    def write(self, folder: Path) -> str:
        """Write the texts and the pictures into the folder of the table; returns the table."""

    @abstractmethod
    def publish(self, folder: Path, to: Path) -> None:
        """Copy what the texts are made of, without checkpoints and logs, into another folder."""


def names() -> list[str]:
    """The names of all tables."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def load(name: str) -> Table:
    """A table by its name.

    Raises:
        ConfigError: there is no such table.
    """
    if name not in names():
        raise ConfigError(f"table={shown(name)}: there is no such table, use some of {','.join(names())}")
    content: dict[str, Any] = yaml.safe_load((TABLES / f"{name}.yaml").read_text(encoding="utf-8"))
    kind: Any = slots.locate(f"reproduce.{name}", content.pop("_target_"))
    made: Table = kind(**content)  # not by Hydra, which would resolve what the trainings are to resolve
    return made
