"""Compare runs on one page: tables, curves with bands over seeds, forgetting, samples, films, costs.

RUN is a run folder, or any folder above runs (a sweep, a search, a folder of those), which means all runs
in it. Runs that differ in their seed alone are one setting. Open OUT/index.html in a browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mergan import config
from mergan.cli import settings
from mergan.cli.door import Door
from mergan.cli.guard import guard
from mergan.system.errors import ConfigError
from mergan.system.interpreter import collector_paused, run_and_leave

DOOR = Door(
    "report",
    about=__doc__ or "",
    usage="RUN [RUN ...] [KEY=VALUE ...]",
    examples=(
        "runs/four out=report",
        "runs/first runs/second overwrite=true",
        "runs trust=[my_package.strategies] root=/data",
    ),
    composed=False,
)


def _report(words: Sequence[str]) -> None:
    own, runs = settings.read(config.ReportConfig, config.CONF / "report.yaml", words)
    if not runs:
        raise ConfigError(f"name a run folder: {DOOR.command} {DOOR.usage}; --help says more")
    with collector_paused():
        from mergan.reporting import report
        from mergan.reporting.generated import Source

    source = Source(own.trust, own.cache_dir, own.root)
    report.make([Path(run).expanduser() for run in runs], Path(own.out), source, own.overwrite)


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return guard(DOOR, typed, _report)


if __name__ == "__main__":
    run_and_leave(main)
