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

from torture.doors import BASES, base_settings, catalogue, load
from torture.runs import ROOT, Outcome, start

SHARES = {"sample": 1.0, "init_from": 0.4, "evaluate": 0.4, "ckpt_path": 0.4, "resume": 0.4}
SHOWN = 40  # lost cases that are listed

Plan = list[tuple[str, str, bool]]


def run(
    folder: Path, count: int, commands: int, doors: list[str], jobs: int, only: str = ""
) -> list[Outcome]:
    """Try `count` altered checkpoints.

    Args:
        folder: for everything that is made on the way.
        count: altered checkpoints; each goes through the cheap doors, a share of them through all.
        commands: of each door's, so many are tried as real commands too.
        doors: names of DOORS.
        jobs: doors that are tried at once.
        only: a part of the names of those to try, "" for all.
    """
    with ThreadPoolExecutor(jobs) as threads:
        list(threads.map(lambda base: _base(folder / base, base), BASES))
        chosen = choose(folder, count, only)
        plans = {door: _plan(door, chosen, commands) for door in doors}
        order = sorted(doors, key=lambda door: (SHARES[door] < 1, door), reverse=True)
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


def choose(folder: Path, count: int, only: str) -> list[tuple[str, str]]:
    """(base, name) of the alterations to try, of every kind by turns, so that the first ones are of all."""
    pool: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for base in BASES:
        for name, alteration in catalogue(
            load(folder / base / "given" / "checkpoints" / "last.ckpt")
        ).items():
            if only in name:
                pool[alteration.kind].append((base, name))
    rng = random.Random(0)
    for kind, names in pool.items():
        first = {"archive", "pickle", "bomb"}  # the same whatever the base: one of each
        distinct = {name: (base, name) for base, name in rng.sample(names, len(names))}
        pool[kind] = list(distinct.values()) if kind in first else rng.sample(names, len(names))
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count and any(pool.values()):
        for names in pool.values():
            if names and len(chosen) < count:
                chosen.append(names.pop())
    return chosen


def _plan(door: str, chosen: list[tuple[str, str]], commands: int) -> Plan:
    """What goes through a door: warm ones, then some as real commands, other ones for each door."""
    share = chosen[: max(int(len(chosen) * SHARES[door]), min(150, len(chosen)))]
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
    for door, result in lost[:SHOWN]:
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
