"""The commands that read checkpoints, each in one warm process: python -m torture.doors DOOR ROOT PLAN"""

from __future__ import annotations

import copy
import gc
import json
import os
import random
import resource
import runpy
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torture import archives, beside, hostile, pickles, structure, zips
from torture.runs import OF_STRATEGY, ROOT, SETTINGS
from torture.sandbox import RAN, SECRET, Entry, Sandbox
from torture.structure import Alteration

BASES = ("finetune", "experience_replay", "deep_generative_replay")
SHORT = ["epochs=1", "steps_per_epoch=1", "objective.critic_steps=1", "callbacks.progress.bar=false"]
QUICK = ["evaluation=accuracy", "evaluation.reverse_per_class=0", "logger.tensorboard=null"]
TRAIN = str(ROOT / "train.py")
CHECKPOINT = "../given/checkpoints/last.ckpt"
WARM, COLD = 10.0, 40.0  # seconds after which a command hangs
MEMORY = 2**30  # bytes more than the warm process that a command may take
ROOM = 4 * 2**30  # bytes of addresses that it is given at all
CONTROL = {
    *map(chr, range(32)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069",
}


def base_settings(strategy: str) -> list[str]:
    """The settings of the runs that are altered: two tasks of one epoch."""
    return [
        *SETTINGS,
        *SHORT,
        "callbacks.heat_maps=null",
        f"strategy={strategy}",
        *OF_STRATEGY.get(strategy, []),
    ]


@dataclass(frozen=True)
class Door:
    """A command that reads a checkpoint.

    Attributes:
        words: its command line after "python", run in the sandbox' working directory, for a base.
        writes: what it may write, relative to the sandbox, when it ends with status 0.
    """

    words: Callable[[str], list[str]]
    writes: tuple[str, ...]


MEASURED = [setting for setting in SETTINGS if setting.startswith("evaluation.")]
DOORS = {
    "sample": Door(
        lambda _: ["-m", "mergan.sample", f"checkpoint={CHECKPOINT}", "per_class=2", "out=../out/a.npz"],
        ("out",),
    ),
    "evaluate": Door(
        lambda _: ["-m", "mergan.evaluate", f"checkpoint={CHECKPOINT}", "out=../out/figures.json", *MEASURED],
        ("out",),
    ),
    "ckpt_path": Door(lambda _: [TRAIN, f"ckpt_path={CHECKPOINT}"], ("given", "work/runs")),
    "init_from": Door(
        lambda base: [TRAIN, *base_settings(base), *QUICK, f"init_from={CHECKPOINT}"],
        ("work/runs",),
    ),
    "resume": Door(
        lambda base: [TRAIN, *base_settings(base), "resume=auto", "hydra.run.dir=../given"], ("given",)
    ),
}  # fmt: skip
ALWAYS = ("work/cache",)


def catalogue(content: structure.Content) -> dict[str, Alteration]:
    """All alterations of a checkpoint by name; the same ones in the same order every time."""
    found = [
        Alteration("unaltered", "as it was written", lambda own, _: own),
        *structure.alterations(content),
        *hostile.alterations(content),
        *pickles.alterations(content),
        *archives.alterations(random.Random(0)),
        *beside.alterations(),
    ]
    return {str(alteration): alteration for alteration in found}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float
    memory: int
    hung: bool


def main(door: str, root: Path, plan: Path) -> None:
    """Try what the plan lists, [[base, name of the alteration, cold]...]; print one JSON line for each."""
    jobs = json.loads(plan.read_text(encoding="utf-8"))
    warm_up()
    wholes = {base: load(root / base / "given" / "checkpoints" / "last.ckpt") for base in BASES}
    listed = {base: catalogue(whole) for base, whole in wholes.items()}
    gc.collect()
    gc.freeze()
    for base, name, cold in jobs:
        sandbox = Sandbox(root / f"sandbox_{door}", root / base)
        reasons, ended = tried(door, base, listed[base][name], wholes[base], sandbox, cold)
        last = ended.stderr.strip().splitlines()[-1:]
        words = {"base": base, "name": name, "cold": cold, "status": ended.status, "seconds": ended.seconds}
        print(json.dumps({**words, "last": "".join(last)[-300:], "lost": reasons}), flush=True)


def warm_up() -> None:
    """Import what the commands import, and read their configurations once."""
    import tensorboard  # noqa: F401
    import torch_fidelity  # noqa: F401
    import torchvision  # noqa: F401

    from mergan import config

    config.compose(*base_settings(BASES[1]))
    config.compose(*MEASURED, name="evaluate")


def load(path: Path) -> structure.Content:
    """The content of a whole checkpoint."""
    import torch

    content: structure.Content = torch.load(path, weights_only=True)
    return content


def tried(
    door: str, base: str, alteration: Alteration, whole: structure.Content, sandbox: Sandbox, cold: bool
) -> tuple[list[str], Ended]:
    """Put one altered checkpoint before a command; what is wrong with the outcome, and the outcome."""
    sandbox.renew()
    made = alteration.make(copy.deepcopy(whole), sandbox)
    sandbox.checkpoint.write_bytes(made if isinstance(made, bytes) else zips.saved(made))
    before = sandbox.look()
    ended = run(DOORS[door].words(base), sandbox, cold)
    return judged(door, alteration, ended, sandbox, before), ended


def judged(
    door: str, alteration: Alteration, ended: Ended, sandbox: Sandbox, before: dict[str, Entry]
) -> list[str]:
    """What is wrong with how a command ended; nothing if it is refused in one line, or harmless."""
    lost = []
    if (sandbox.canary / RAN).exists():
        lost.append("RAN CODE")
    good = ended.status == 0
    free = good or alteration.kind == "beside"  # what is wrong there may be met when it is written to
    touched = sandbox.touched(before, (*ALWAYS, *DOORS[door].writes) if free else ALWAYS)
    if touched:
        lost.append(f"touched {', '.join(touched[:3])}{', ...' if len(touched) > 3 else ''}")
    told = [name for name, text in (("stdout", ended.stdout), ("stderr", ended.stderr)) if SECRET in text]
    if told or sandbox.leaks(before):
        lost.append(f"interpolated in {', '.join([*told, *sandbox.leaks(before)][:3])}")
    if ended.hung:
        return [*lost, f"no end within {ended.seconds:.0f} s"]
    if ended.memory > MEMORY:
        lost.append(f"took {ended.memory / 2**20:.0f} MiB")
    if CONTROL & {*(ended.stdout + ended.stderr)} - {*"\n\t"}:
        lost.append("raw control characters on the terminal")
    lines = ended.stderr.splitlines()
    if ended.status not in (0, 2) or "Traceback" in ended.stderr:
        lost.append(f"status {ended.status}{', traceback' if 'Traceback' in ended.stderr else ''}")
    elif not good and len(ended.stderr.rstrip("\n").split("\n")) != 1:
        lost.append(f"{len(lines)} lines")
    elif good and alteration.refused:
        lost.append("accepted")
    elif not good and alteration.kind == "unaltered":
        lost.append("a whole one refused")
    elif not good and alteration.word not in ended.stderr:
        lost.append(f"the line does not name {alteration.word}")
    elif not good and len(ended.stderr) > 2000:
        lost.append(f"a line of {len(ended.stderr)} characters")
    return lost


def run(words: list[str], sandbox: Sandbox, cold: bool) -> Ended:
    """Run a command in a child of this process; cold: with an interpreter of its own."""
    outputs = [sandbox.root.with_name(f"{sandbox.root.name}.{stream}") for stream in ("stdout", "stderr")]
    resting = _memory(of=1)
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(words, sandbox, outputs, cold)
    hung = not _ends(child, COLD if cold else WARM)
    with suppress(ProcessLookupError):  # all of it has ended
        os.killpg(child, signal.SIGKILL)  # and what it has started
    _, status, usage = os.wait4(child, 0)
    stdout, stderr = (path.read_bytes().decode("utf-8", "replace") for path in outputs)
    seconds = time.monotonic() - begun
    memory = max(0, usage.ru_maxrss * 1024 - resting)
    return Ended(os.waitstatus_to_exitcode(status), stdout, stderr, seconds, memory, hung)


def _ends(child: int, seconds: float) -> bool:
    handle = os.pidfd_open(child)
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def _become(words: list[str], sandbox: Sandbox, outputs: list[Path], cold: bool) -> None:
    """Turn this child into the command; does not return."""
    status = 1
    try:
        os.setsid()
        for stream, path in zip((1, 2), outputs, strict=True):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(sandbox.work)
        paths = [str(ROOT), str(sandbox.work)]
        os.environ.update({**sandbox.environment(), "PYTHONPATH": os.pathsep.join(paths)})
        room = _memory(of=0) + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        if cold:
            os.execv(sys.executable, [sys.executable, *words])
        sys.dont_write_bytecode = True
        module = words[0] == "-m"
        sys.argv = words[module:]
        sys.path[:0] = [str(sandbox.work) if module else str(ROOT), *paths]
        status = _status(runpy.run_module if module else runpy.run_path, words[module])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _status(start: Callable[..., Any], target: str) -> int:
    try:
        start(target, run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _memory(of: int) -> int:
    """Bytes of this process: of addresses (0), or resident (1)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[of]) * resource.getpagesize()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
