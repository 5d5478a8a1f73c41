"""Compare finished runs: one table, accuracy after each task, sample grids side by side.

RUN is a run folder, or a folder of runs (a sweep), which means all finished runs in it. The table shows the
settings in which the runs differ.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mergan import config
from mergan.cli import settings
from mergan.cli.door import Door
from mergan.cli.guard import guard
from mergan.system.errors import ConfigError

DOOR = Door(
    "report",
    about=__doc__ or "",
    usage="RUN [RUN ...] [KEY=VALUE ...]",
    examples=("runs/four out=report", "runs/first runs/second overwrite=true"),
    composed=False,
)


def _report(words: Sequence[str]) -> None:
    own, runs = settings.read(config.ReportConfig, config.CONF / "report.yaml", words)
    if not runs:
        raise ConfigError(f"name a run folder: {DOOR.command} {DOOR.usage}; --help says more")
    from mergan.reporting import report

    report.make([Path(run).expanduser() for run in runs], Path(own.out), own.overwrite)


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return guard(DOOR, typed, _report)


if __name__ == "__main__":
    sys.exit(main())
