"""Two starts of one run: one of them sleeps at the worst of moments while the other goes on."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torture import victims
from torture.runs import Outcome
from torture.strike import Blow
from torture.victims import Command

SLEEPS: dict[str, Blow] = {
    "about to read last.ckpt": Blow("read", r"run/checkpoints/last\.ckpt$", action="stop"),
    "last.ckpt just opened": Blow("read", r"run/checkpoints/last\.ckpt$", after=True, action="stop"),
    "about to open the lock": Blow("write", r"run/\.lock$", action="stop"),
    "about to lock": Blow("lock", r"run/\.lock$", action="stop"),
    "the lock just taken": Blow("lock", r"run/\.lock$", after=True, action="stop"),
}


def run(folder: Path, jobs: int) -> list[Outcome]:
    """Let every case happen to a run that has been stopped half-way, the last one to a new run too."""
    reference = victims.reference(folder / "reference")
    cache = reference.parent / "cache"
    half = folder / "half" / "run"
    victims.train(half, cache, folder / "half" / "log", Blow("rename", r"/last\.ckpt$", 2, after=True)).wait()
    cases: dict[str, Callable[[Path], list[str]]] = {
        f"second start {name}": lambda place, blow=blow: _sleeps(blow, place, half, reference)  # type: ignore[misc]
        for name, blow in SLEEPS.items()
    }
    cases["both at once"] = lambda place: _at_once(place, half, reference)
    cases["a new run, second start about to open the lock"] = lambda place: _sleeps(
        SLEEPS["about to open the lock"], place, None, reference
    )

    def one(name: str) -> list[str]:
        return victims.told("starts", name, cases[name](folder / str(list(cases).index(name))))

    with ThreadPoolExecutor(jobs) as threads:
        found = list(threads.map(one, cases))
    lost = {name: wrong for name, wrong in zip(cases, found, strict=True) if wrong}
    details = "; ".join(f"{name}: {', '.join(wrong[:4])}" for name, wrong in lost.items())
    return [Outcome("two starts of one run", len(cases), len(lost), details)]


def _sleeps(blow: Blow, folder: Path, half: Path | None, reference: Path) -> list[str]:
    """One start falls asleep, another one runs to its end, the first one wakes up."""
    run, cache = folder / "run", reference.parent / "cache"
    if half is not None:
        shutil.copytree(half, run)
    sleeper = victims.train(run, cache, folder / "sleeper", blow)
    if not _asleep(sleeper):
        sleeper.process.kill()
        return ["the moment never came", *sleeper.errors[-1:]]
    other = victims.train(run, cache, folder / "other")
    statuses = [other.wait()]
    figures = run / "metrics.json"  # what a run writes last
    before = figures.stat() if figures.is_file() else None
    sleeper.process.send_signal(signal.SIGCONT)
    statuses.append(sleeper.wait())
    wrong = _ended([other, sleeper], statuses, run, reference)
    if before is not None and (not figures.is_file() or figures.stat().st_mtime_ns != before.st_mtime_ns):
        wrong.append("the finished run was trained again")
    return wrong


def _at_once(folder: Path, half: Path, reference: Path) -> list[str]:
    run, cache = folder / "run", reference.parent / "cache"
    shutil.copytree(half, run)
    both = [victims.train(run, cache, folder / name) for name in ("first", "second")]
    return _ended(both, [command.wait() for command in both], run, reference)


def _ended(commands: list[Command], statuses: list[int], run: Path, reference: Path) -> list[str]:
    """Each has gone on, or says in one line why not; together they have finished the run."""
    wrong = []
    for command, status in zip(commands, statuses, strict=True):
        wrong += [] if status == 0 else victims.one_line(command, status)
    if 0 not in statuses:
        wrong.append("neither finished the run")
    return [*wrong, *victims.same(run, reference.parent / "cache", reference)]


def _asleep(command: Command) -> bool:
    """Wait until the process has stopped itself; False if it ends first."""
    stat = Path(f"/proc/{command.process.pid}/stat")
    end = time.monotonic() + victims.LIMIT
    while command.process.poll() is None and time.monotonic() < end:
        if stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T":
            return True
        time.sleep(0.05)
    return False
