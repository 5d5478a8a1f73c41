"""Searches that are killed at random moments and started again with the same command line."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
import time
from pathlib import Path

from torture.runs import Outcome, start

LIMIT = 900  # seconds that a search may take to its end
TRIALS = 13  # the sampler proposes from the eleventh on
SETTINGS = [
    "debug=smoke", "strategy=finetune", "logger.tensorboard=null", "callbacks.heat_maps=null",
    "search.metric=diversity", "search.pruning_metric=null", f"search.trials={TRIALS}",
    "lr=tag(log,interval(1e-4,1e-2))", "batch_size=interval(4,8)",
]  # fmt: skip
COMPARED = ("number", "state", "lr", "batch_size", "diversity", "folder")


def run(folder: Path, kills: int, seed: int = 0) -> list[Outcome]:
    """Kill a search with one trial at a time, which must end with the trials of one left alone, and a search
    with two, of which no trial may be lost or counted twice.
    """
    alone = folder / "alone"
    status = start(_command(alone, 1), folder / "alone.txt").wait(LIMIT)
    if status != 0:
        raise SystemExit(f"error: the search ended with status {status}, see {folder / 'alone.txt'}")
    outcomes = []
    for jobs in (1, 2):
        search, done = folder / f"jobs_{jobs}", 0
        rng = random.Random(f"{seed} {jobs}")
        while done < kills and _killed(_command(search, jobs), search, rng):
            done += 1
        status = start(_command(search, jobs), folder / f"jobs_{jobs}.txt").wait(LIMIT)
        lost = f"ended with status {status}" if status else _lost(search, alone if jobs == 1 else None)
        outcomes.append(Outcome(f"SIGKILL of a search, {jobs} at a time", done, int(bool(lost)), lost))
    return outcomes


def _command(search: Path, jobs: int) -> list[str]:
    own = [f"search.dir={search}", f"search.jobs={jobs}", f"cache_dir={search.parent / 'cache'}"]
    return [sys.executable, "-m", "mergan.search", *SETTINGS, *own]


def _killed(command: list[str], search: Path, rng: random.Random) -> bool:
    """Kill a search within seconds after it has begun to write; False if it came to its end before."""
    journal = search / "journal.log"
    before = _size(journal)
    process = start(command, search.with_suffix(".txt"))
    while process.poll() is None and _size(journal) == before:
        time.sleep(0.01)
    try:
        process.wait(rng.uniform(0, 6))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _lost(search: Path, alone: Path | None) -> str:
    """What a search has lost; empty if nothing."""
    trials = _trials(search)
    if [trial["number"] for trial in trials] != [str(number) for number in range(TRIALS)]:
        return f"{search}: not every trial stands there once"
    if any(trial["state"] != "finished" for trial in trials):
        return f"{search}: a trial is not finished"
    if len(list(search.glob("trial_*"))) != TRIALS:
        return f"{search}: not a run folder for every trial"
    return "" if alone is None or trials == _trials(alone) else f"{search}: other trials than left alone"


def _trials(search: Path) -> list[dict[str, str]]:
    with (search / "trials.csv").open(encoding="utf-8") as file:
        return [{key: row[key] for key in COMPARED} for row in csv.DictReader(file)]
