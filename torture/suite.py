"""Faults and bad inputs that the tests hold, counted."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from torture.runs import ROOT, Outcome, train

FAULTS = (
    "test_checkpoint.py",  # truncated, flipped, foreign, hostile files
    "test_storage.py",  # full disk, locks, tables cut short
    "test_interrupts.py",
    "test_data_cache.py",  # broken caches, read-only folders
    "test_data_sources.py",  # broken images and data files
    "test_judge_cache.py",
    "test_run_files.py",  # hostile run folders
    "test_outputs.py",  # places where nothing may be written
)
KNOWN_TO_THE_SCHEMA = (
    "batchsize=3",
    "lr=abc",
    "epochs=0",
    "data.image_size=28",
    "strategy=finetun",
    "seed=-1",
)
DEEP = ("strategy.max_per_class=abc", "network.generator.width=0", "learner.ema=7", "objective.r1=-1")


def tests(name: str, files: tuple[str, ...], folder: Path) -> Outcome:
    """Run test files; every case counts."""
    report = folder / f"{files[0]}.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", "--numprocesses", "2"]
    command += [f"tests/{file}" for file in files]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    suite = next(ElementTree.parse(report).iter("testsuite"))
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return Outcome(name, int(suite.get("tests", 0)), len(failed), "; ".join(failed))


def bad_inputs(folder: Path) -> list[Outcome]:
    """All bad configurations of the tests, and the time that a cold start takes to refuse some of them."""
    sys.path.insert(0, str(ROOT / "tests"))
    import bad_inputs as cases  # of the tests

    listed = [
        *cases.wrong_types(),
        *cases.typos(),
        *cases.OUT_OF_RANGE,
        *cases.OF_STRATEGIES,
        *cases.OF_STREAMS,
    ]
    outcome = tests("bad inputs", ("test_bad_inputs.py",), folder)
    found = [Outcome(outcome.name, len(listed), outcome.lost, outcome.details)]
    for name, overrides, limit in (("known to the schema", KNOWN_TO_THE_SCHEMA, 2), ("others", DEEP, 15)):
        slow, slowest = [], 0.0
        for override in overrides:
            begun = time.monotonic()
            command = train(folder / "run", folder / "cache", override)
            ended = subprocess.run(command, cwd=folder, capture_output=True, check=False)
            taken = time.monotonic() - begun
            slowest = max(slowest, taken)
            if ended.returncode != 2 or len(ended.stderr.splitlines()) != 1 or taken > limit:
                slow.append(f"{override}: status {ended.returncode}, {taken:.1f} s")
        details = "; ".join([f"slowest {slowest:.2f} s, limit {limit} s", *slow])
        found.append(Outcome(f"refused from a cold start, {name}", len(overrides), len(slow), details))
    return found
