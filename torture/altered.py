"""Hundreds of altered checkpoints, put before every command that reads one.

Each is refused with one line, or harmless: no code runs, nothing outside the folders of the command is
touched, nothing is interpolated, and time and memory stay small.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torture.doors import BASES, DOORS, base_settings, catalogue, load
from torture.runs import ROOT, Outcome, start

ALL = ("sample",)  # doors that everything goes through; the others see two rounds of five, each other ones
SHOWN = 40  # lost cases that are listed
WORST = ("RAN CODE", "interpolated", "touched", "no end", "took")  # these first

Round = list[tuple[str, str]]  # (base, name of an alteration), one of each kind
Plan = list[tuple[str, str, bool]]  # ... and whether it is tried as a real command


def run(
    folder: Path, count: int, commands: int, doors: list[str], jobs: int, only: str = ""
) -> list[Outcome]:
    """Try `count` altered checkpoints.

    Args:
        folder: for everything that is made on the way.
        count: altered checkpoints; each goes through the cheapest door, two of five through each other one.
        commands: of each door's, so many are tried as real commands too.
        doors: names of DOORS.
        jobs: doors that are tried at once.
        only: a part of the names of those to try, "" for all; these go through every door.
    """
    with ThreadPoolExecutor(jobs) as threads:
        list(threads.map(lambda base: _base(folder / base, base), BASES))
        rounds = choose(folder, count, only)
        plans = {door: _plan(door, rounds, commands, everything=bool(only)) for door in doors}
        order = sorted(doors, key=lambda door: door not in ALL)  # the longest first
        results = dict(
            zip(order, threads.map(lambda door: _try(folder, door, plans[door]), order), strict=True)
        )
    _show([(door, result) for door in doors for result in results[door] if result["lost"]])
    return [_outcome(door, results[door]) for door in doors]


def _base(folder: Path, strategy: str) -> None:
    """A run after the first of its two tasks, and a cache with all that is needed."""
    settings = [*base_settings(strategy), "cache_dir=cache", "hydra.run.dir=given"]
    command = [sys.executable, str(ROOT / "train.py"), *settings]
    if start(command, folder / "log.txt").wait(300) != 0:
        raise SystemExit(f"error: the run to alter ended badly: {(folder / 'log.txt').read_text()[-500:]}")
    given = folder / "given"
    shutil.copy(given / "checkpoints" / "task_00.ckpt", given / "checkpoints" / "last.ckpt")
    (given / "checkpoints" / "task_01.ckpt").unlink()
    (given / "metrics.json").unlink()
    shutil.rmtree(given / "tensorboard")


def choose(folder: Path, count: int, only: str) -> list[Round]:
    """The alterations to try, in rounds of one of each kind, so that any few of them are of all kinds."""
    pool: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for base in BASES:
        for name, alteration in catalogue(
            load(folder / base / "given" / "checkpoints" / "last.ckpt")
        ).items():
            if only in name:
                pool[alteration.kind].append((base, name))
    rng = random.Random(0)
    for kind, names in pool.items():
        first = {"archive", "pickle", "bomb", "beside"}  # the same whatever the base: one of each
        distinct = {name: (base, name) for base, name in rng.sample(names, len(names))}
        pool[kind] = list(distinct.values()) if kind in first else rng.sample(names, len(names))
    rounds: list[Round] = []
    while count > 0 and any(pool.values()):
        rounds.append([names.pop() for names in pool.values() if names][:count])
        count -= len(rounds[-1])
    return rounds


def _plan(door: str, rounds: list[Round], commands: int, everything: bool) -> Plan:
    """What goes through a door: warm ones, then some as real commands."""
    everything = everything or door in ALL or len(rounds) < 4
    place = list(DOORS).index(door)
    share = [
        one
        for number, several in enumerate(rounds)
        for one in several
        if everything or (number + place) % 5 < 2
    ]
    spread = random.Random(door).sample(share, min(commands, len(share)))
    return [(base, name, False) for base, name in share] + [(base, name, True) for base, name in spread]


def _try(folder: Path, door: str, plan: Plan) -> list[dict[str, Any]]:
    file = folder / f"{door}.json"
    file.write_text(json.dumps(plan), encoding="utf-8")
    command = [sys.executable, "-m", "torture.doors", door, str(folder), str(file)]
    log = folder / f"{door}.jsonl"
    with log.open("wb") as output, (folder / f"{door}.txt").open("wb") as errors:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        status = subprocess.run(command, stdout=output, stderr=errors, env=environment, check=False)
    results = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    if status.returncode != 0 or len(results) != len(plan):
        raise SystemExit(f"error: door {door}: {(folder / f'{door}.txt').read_text()[-1000:]}")
    return results


def _show(lost: list[tuple[str, dict[str, Any]]]) -> None:
    def badness(case: tuple[str, dict[str, Any]]) -> int:
        return next((i for i, word in enumerate(WORST) if word in str(case[1]["lost"])), len(WORST))

    for door, result in sorted(lost, key=badness)[:SHOWN]:
        print(
            f"  {door}{' (command)' if result['cold'] else ''}, {result['base']}: {result['name'][:120]!r}: "
            f"{'; '.join(result['lost'])}: status {result['status']}: {result['last'][-200:]!r}",
            file=sys.stderr,
        )
    if len(lost) > SHOWN:
        print(f"  and {len(lost) - SHOWN} more", file=sys.stderr)


def _outcome(door: str, results: list[dict[str, Any]]) -> Outcome:
    lost = [result for result in results if result["lost"]]
    kinds = Counter(result["name"].split(":")[0] for result in lost)
    refused = sum(result["status"] == 2 for result in results)
    slowest = max((result["seconds"] for result in results if not result["cold"]), default=0.0)
    details = [f"{refused} refused, slowest {slowest:.1f} s", *(f"{kind} {n}" for kind, n in kinds.items())]
    return Outcome(f"altered checkpoints, {door}", len(results), len(lost), "; ".join(details))
