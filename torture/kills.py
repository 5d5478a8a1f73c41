"""Runs that are killed at random moments and started again with the same command line."""

from __future__ import annotations

import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torture import compare
from torture.runs import OF_STRATEGY, STRATEGIES, Outcome, start, train

LIMIT = 300  # seconds that a run may take to its end


def run(folder: Path, kills: int, jobs: int, seed: int = 0) -> list[Outcome]:
    """Kill the run of every strategy `kills` times, let it end, and hold it against one left alone."""

    def one(name: str) -> Outcome:
        return _tortured(name, folder / name, folder / "cache", kills, random.Random(f"{seed} {name}"))

    _untouched("finetune", folder / "first", folder / "cache")  # fills the cache
    with ThreadPoolExecutor(jobs) as threads:
        return list(threads.map(one, STRATEGIES))


def _command(strategy: str, folder: Path, cache: Path) -> list[str]:
    own = OF_STRATEGY.get(strategy, [])
    return train(folder, cache, f"strategy={strategy}", "resume=auto", *own)


def _untouched(strategy: str, folder: Path, cache: Path) -> float:
    """Run to the end; returns the seconds it took."""
    begun = time.monotonic()
    status = start(_command(strategy, folder / "run", cache), folder / "log.txt").wait(LIMIT)
    if status != 0:
        raise SystemExit(f"error: {strategy} ended with status {status}, see {folder / 'log.txt'}")
    return time.monotonic() - begun


def _tortured(strategy: str, folder: Path, cache: Path, kills: int, rng: random.Random) -> Outcome:
    duration = _untouched(strategy, folder / "reference", cache)
    run, log = folder / "tortured" / "run", folder / "tortured" / "log.txt"
    done = 0
    lost: list[str] = []
    while done < kills and not lost:
        process = start(_command(strategy, run, cache), log)
        try:
            status = process.wait(rng.uniform(0.1, 1.0) * duration)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done += 1
        else:  # it came to its end between two kills: a new run for those that are left
            lost = _lost(status, run, folder / "reference" / "run")
            run = folder / "tortured" / f"run_{done}"
    if not lost:
        status = start(_command(strategy, run, cache), log).wait(LIMIT)
        lost = _lost(status, run, folder / "reference" / "run")
    return Outcome(f"SIGKILL, {strategy}", done, min(len(lost), 1), "; ".join(lost))


def _lost(status: int, run: Path, reference: Path) -> list[str]:
    return compare.differences(run, reference) if status == 0 else [f"ended with status {status}"]
