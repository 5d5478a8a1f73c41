"""A long run, and several at once: nothing may grow, nothing may clash."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mergan.checkpoints import file as checkpoint
from torture import compare
from torture.runs import Outcome, start, train

GROWTH = 1.10  # of the second half over the first that still counts as flat


def long_run(folder: Path, tasks: int) -> list[Outcome]:
    """One run over `tasks` tasks of two epochs: memory, open files and training time per task."""
    overrides = [
        "strategy=joint_retrain", "strategy.mode=live", f"data.num_classes={tasks}",
        "scenario.classes_per_task=1", "epochs=2", "steps_per_epoch=20", "evaluation=accuracy",
        "evaluation.samples_per_class=2", "evaluation.reverse_per_class=0", "callbacks.samples=null",
        "logger.tensorboard=null",
    ]  # fmt: skip
    process = start(train(folder / "run", folder / "cache", *overrides), folder / "log.txt")
    memory: list[float] = []
    files: list[float] = []
    checkpoints = folder / "run" / "checkpoints"
    while process.poll() is None:
        time.sleep(0.5)
        if checkpoints.is_dir() and len(list(checkpoints.glob("task_*.ckpt"))) > tasks // 20:
            sample = _usage(process.pid)
            if sample is not None:
                memory.append(sample[0])
                files.append(sample[1])
    if process.returncode != 0:
        return [Outcome("soak", tasks, 1, f"status {process.returncode}, {folder / 'log.txt'}")]
    clock = [
        checkpoint.read(path)["callbacks"]["ContinualEvaluation"]["train_seconds"]
        for path in sorted(checkpoints.glob("task_*.ckpt"), key=lambda path: int(path.stem.split("_")[1]))
    ]
    times = [after - before for before, after in itertools.pairwise(clock[1:])]
    name = f"soak of {tasks} tasks"
    return [
        flat(f"{name}: memory", memory, statistics.median),
        flat(f"{name}: open files", files, min),
        flat(f"{name}: training time per task", times, min),
    ]


def _usage(pid: int) -> tuple[int, int] | None:
    """Resident KiB and open files of a process; None when it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return resident, len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, StopIteration):
        return None


def flat(name: str, values: Sequence[float], typical: Callable[[Sequence[float]], float]) -> Outcome:
    """Whether the second half of what was measured is no larger than the first.

    Args:
        name: what was measured.
        values: in the order in which they were measured, at least two.
        typical: the value that stands for a half. A file that is open for a moment and a neighbour that takes
            the processor raise single values; a leak raises the least one as well.
    """
    middle = len(values) // 2
    first, second = typical(values[:middle]), typical(values[middle:])
    ratio = second / first
    return Outcome(name, 1, int(ratio > GROWTH), f"second half {ratio:.3f} times the first ({first:.4g})")


def at_once(folder: Path, count: int = 4) -> Outcome:
    """The same run `count` times at once, on one empty cache: all alike, and the cache built once."""
    runs = [folder / str(number) for number in range(count)]
    processes = [
        start(train(run / "run", folder / "cache", "strategy=finetune"), run / "log.txt") for run in runs
    ]
    statuses = [process.wait(300) for process in processes]
    lost = [f"ended with status {status}" for status in statuses if status != 0]
    built = sum((run / "log.txt").read_text().count("training the evaluation classifier") for run in runs)
    if built != 1:
        lost.append(f"the classifier was trained {built} times")
    for run in [] if lost else runs[1:]:
        lost += compare.differences(run / "run", runs[0] / "run")
    return Outcome(f"{count} runs at once on one cache", count, min(len(lost), count), "; ".join(lost))
