"""Do to runs what machines do: python -m torture [kills=2] [altered=500] [only=points,altered,...]"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mergan.output import tables
from mergan.system.files import write_text
from torture import altered, disk, kills, points, searches, soak, starts, suite, sweeps
from torture.doors import DOORS
from torture.runs import Outcome


def parts(options: dict[str, str]) -> dict[str, Callable[[Path], list[Outcome]]]:
    """What can be asked for, by name."""
    return {
        "kills": lambda folder: kills.run(folder, int(options["kills"]), int(options["jobs"])),
        "points": lambda folder: points.run(folder, int(options["points"]), int(options["jobs"])),
        "starts": lambda folder: starts.run(folder, int(options["jobs"])),
        "disk": lambda folder: disk.run(folder, int(options["disks"]), int(options["jobs"])),
        "altered": lambda folder: altered.run(
            folder,
            int(options["altered"]),
            int(options["commands"]),
            options["doors"].split(","),
            int(options["jobs"]),
            options["match"],
        ),
        "faults": lambda folder: [suite.tests("faults", suite.FAULTS, folder)],
        "inputs": suite.bad_inputs,
        "soak": lambda folder: [
            *soak.long_run(folder / "long", int(options["tasks"])),
            soak.at_once(folder / "at_once"),
        ],
        "sweeps": lambda folder: sweeps.run(folder, int(options["sweeps"])),
        "searches": lambda folder: searches.run(folder, int(options["searches"])),
    }


def main(arguments: list[str]) -> int:
    """Run what is asked for, print the table; status 1 if anything was lost."""
    options = {
        "only": "kills,points,starts,disk,altered,faults,inputs,soak,sweeps,searches",
        "out": "",  # a file for the table
        "jobs": str(min(2, os.cpu_count() or 1)),
        "kills": "2",  # of each strategy, at random moments
        "points": str(len(points.POINTS)),
        "disks": str(len(disk.WRITES) + len(disk.SMALL)),
        "altered": "500",  # checkpoints
        "commands": "20",  # of them, per door, that are also tried as real commands
        "doors": ",".join(DOORS),
        "match": "",  # a part of the names of the alterations to try
        "tasks": "100",  # of the soak
        "sweeps": "10",  # kills of a sweep, and of workers of one
        "searches": "10",  # kills of a search with one trial at a time, and of one with two
    }
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in options:
            sys.exit(f"error: {argument}: use {', '.join(f'{name}=' for name in options)}")
        options[key] = value
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options["only"].split(","):
            begun = time.monotonic()
            print(f"{name} ...", file=sys.stderr, flush=True)
            outcomes += parts(options)[name](_made(Path(folder) / name))
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    tried, lost = sum(outcome.tried for outcome in outcomes), sum(outcome.lost for outcome in outcomes)
    outcomes.append(Outcome("all", tried, lost))
    rows = [
        [part.name, str(part.tried), str(part.tried - part.lost), str(part.lost), part.details]
        for part in outcomes
    ]
    text = tables.markdown(["what", "tried", "survived", "lost", ""], rows)
    if options["out"]:
        write_text(Path(options["out"]), text + "\n")
    print(text)
    return int(lost > 0)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
