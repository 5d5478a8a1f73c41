"""Runs that are struck at a chosen moment, and what must hold after the same command has gone on."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from torture import compare
from torture.runs import OF_STRATEGY, ROOT, SETTINGS
from torture.strike import Blow

STRATEGY = "experience_replay"
logging.getLogger("tensorboard").setLevel(logging.ERROR)  # runs that went on are not news here

LIMIT = 300  # seconds that a command may take
SHORT = ["epochs=2", "steps_per_epoch=2", "callbacks.progress.bar=false"]


@dataclass
class Command:
    """A command that runs or has run, with what it says in files of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> int:
        """Its exit status; one that does not end is killed."""
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    @property
    def errors(self) -> list[str]:
        """The lines on its standard error."""
        text = self.log.with_suffix(".stderr").read_text(encoding="utf-8", errors="replace")
        return text.rstrip("\n").split("\n") if text else []


def training(run: Path, cache: Path) -> list[str]:
    """The arguments of train.py for a short run that goes on where it was."""
    own = [f"hydra.run.dir={run}", f"cache_dir={cache}", "resume=auto", f"strategy={STRATEGY}"]
    return [*SETTINGS, *SHORT, *OF_STRATEGY.get(STRATEGY, []), *own]


def start(words: list[str], log: Path, blow: Blow | None = None) -> Command:
    """Start `python WORDS`, with a blow or as it is."""
    log.parent.mkdir(parents=True, exist_ok=True)
    plain = Blow("never", "$^")  # so that both are started alike
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with log.with_suffix(".stdout").open("wb") as out, log.with_suffix(".stderr").open("wb") as error:
        process = subprocess.Popen(
            (blow or plain).command(*words), stdout=out, stderr=error, cwd=log.parent, env=environment
        )
    return Command(process, log)


def train(run: Path, cache: Path, log: Path, blow: Blow | None = None) -> Command:
    """Start the training of `run`."""
    return start([str(ROOT / "train.py"), *training(run, cache)], log, blow)


def reference(folder: Path) -> Path:
    """A run that nothing happens to; its cache is `folder`/cache."""
    command = train(folder / "run", folder / "cache", folder / "log")
    if command.wait() != 0:
        raise SystemExit(f"error: the reference ended badly: {command.errors[-3:]}")
    return folder / "run"


def gone_on(run: Path, cache: Path, reference: Path, log: Path) -> list[str]:
    """Start the same command again without a blow: what is not as in the reference then."""
    command = train(run, cache, log)
    status = command.wait()
    if status != 0:
        return [f"goes on with status {status}: {''.join(command.errors[-1:])[:200]}"]
    return same(run, cache, reference)


def same(run: Path, cache: Path, reference: Path) -> list[str]:
    """What a run folder has otherwise than the reference, and what should not lie about."""
    try:
        found = compare.differences(run, reference)
        steps = compare.event_steps(run)
    except (OSError, KeyError, ValueError) as error:
        return [f"cannot be compared ({type(error).__name__}: {error})"]
    twice = [tag for tag, values in steps.items() if tag.startswith("final/") and len(values) != 1]
    if twice:
        found.append(f"{len(twice)} final/* more than once")
    return [*found, *left_behind(run), *left_behind(cache)]


def left_behind(folder: Path) -> list[str]:
    """Temporary files and locks that nobody needs any more."""
    return [f"left {path.name}" for path in folder.rglob(".*") if path.name.endswith((".tmp", ".lock"))]


def told(part: str, name: str, wrong: list[str]) -> list[str]:
    """The same, said at once on standard error if there is any."""
    if wrong:
        print(f"  {part}: {name}: {'; '.join(wrong)[:600]}", file=sys.stderr, flush=True)
    return wrong


def one_line(command: Command, status: int) -> list[str]:
    """What is wrong with a refusal."""
    if status != 2:
        return [f"status {status} in place of 2: {''.join(command.errors[-1:])[:200]}"]
    return [] if len(command.errors) == 1 else [f"{len(command.errors)} lines in place of one"]
