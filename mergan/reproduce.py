"""Make the tables of the documentation again: train every row, search every setting.

Commands run in parallel, one thread each; all together they take days of one core. What is finished is not
repeated, and what was interrupted goes on. A run folder made with other settings than its row has now is
refused. Each call rewrites the tables and pictures. Settings other than those below go to the trainings and
searches.
"""

from __future__ import annotations

from collections.abc import Sequence

from mergan import config
from mergan.cli import settings, words
from mergan.cli.door import Door
from mergan.cli.guard import guard
from mergan.system.errors import ConfigError
from mergan.system.interpreter import run_and_leave
from mergan.system.text import shown

DOOR = Door(
    "reproduce",
    about=__doc__ or "",
    usage="[KEY=VALUE ...]",
    examples=(
        "table=mnist jobs=2",
        "table=mnist only=joint,ewc",
        "table=defaults debug=smoke out=runs/smoke",
    ),
    composed=False,
)


def _reproduce(typed: Sequence[str]) -> None:
    own, others = settings.read(config.ReproduceConfig, config.CONF / "reproduce.yaml", typed)
    for word in others:
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"{shown(word)}: not understood; --help shows the usage")
    from mergan.reproducing import reproduction

    reproduction.reproduce(reproduction.plan(own, words.overrides(others)))


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return guard(DOOR, typed, _reproduce)


if __name__ == "__main__":
    run_and_leave(main)
