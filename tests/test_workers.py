"""Worker processes: their surroundings, their death and the parent's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mergan.system import interrupts, progress
from mergan.system.progress import Progress
from mergan.system.workers import WorkerDied, Workers, output_in

PARENT = """
import os, sys, time
from pathlib import Path
from mergan.system.workers import Workers

def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(300)

with Workers(1, 1) as workers:
    workers.submit(work, sys.argv[1])
    time.sleep(300)
"""


def surroundings() -> tuple[int, str, str]:
    time.sleep(0.3)
    return os.getpid(), os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def grow() -> int:
    sys.kept_by_the_worker = b"x" * 400_000_000  # type: ignore[attr-defined]
    time.sleep(1.1)  # loky measures the memory once a second
    return os.getpid()


def wait_for_a_signal(path: Path) -> str:
    try:
        with interrupts.handled():
            path.touch()
            time.sleep(300)
    except interrupts.Interrupted as stop:
        return f"stopped by {stop}"
    return "ended"


def until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_slot_keeps_its_process_its_threads_and_its_gpu_and_a_death_costs_one_job_only() -> None:
    with Workers(2, 3, ["4", "7"]) as workers:
        before = [workers.submit(surroundings) for _ in range(4)]
        death = workers.submit(die)
        after = [workers.submit(surroundings) for _ in range(4)]
        with pytest.raises(WorkerDied, match="SIGKILL"):
            death.result()
        found = [future.result() for future in before + after]
    assert {threads for _, threads, _ in found} == {"3"}
    assert {gpu for _, _, gpu in found} == {"4", "7"}
    assert len({(process, gpu) for process, _, gpu in found[:4]}) == 2
    assert len({process for process, _, _ in found}) == 3  # one of them replaced


def test_errors_travel_and_the_worker_stays() -> None:
    with Workers(1, 1) as workers:
        process = workers.submit(os.getpid).result()
        with pytest.raises(ZeroDivisionError):
            workers.submit(divmod, 1, 0).result()
        assert workers.submit(os.getpid).result() == process


def test_stopping_asks_the_jobs_to_end_and_cancels_those_that_wait(tmp_path: Path) -> None:
    with Workers(1, 1) as workers:
        running, waiting = (workers.submit(wait_for_a_signal, tmp_path / name) for name in "ab")
        until((tmp_path / "a").exists)
        workers.stop()
        assert running.result() == "stopped by SIGTERM"
        assert waiting.cancelled()
    assert not (tmp_path / "b").exists()


def test_the_workers_of_a_killed_parent_end(tmp_path: Path) -> None:
    script, path = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    parent = subprocess.Popen([sys.executable, str(script), str(path)], env=environment)
    try:
        until(lambda: path.exists() and path.read_text())
        worker = Path("/proc") / path.read_text()
        if not worker.parent.is_dir():
            pytest.skip("needs /proc to look for processes")
        assert worker.is_dir()
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not worker.is_dir() or "\nState:\tZ" in (worker / "status").read_text())


def test_output_goes_to_a_file_and_comes_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with output_in(tmp_path / "logs" / "0.log"):
        os.write(1, b"of the library\n")
        os.write(2, b"an error\n")
    os.write(1, b"after\n")
    assert (tmp_path / "logs" / "0.log").read_text() == "of the library\nan error\n"
    assert capfd.readouterr().out == "after\n"


def test_progress_is_written_for_who_watches_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "0.progress"
    progress.tell(Progress(1, 3, None))  # nobody listens
    with progress.written_to(path):
        assert progress.read(path) is None
        progress.tell(Progress(2, 3, 61.5))
        assert progress.read(path) == Progress(2, 3, 61.5)
    assert not path.exists()


def test_a_worker_that_grows_as_much_as_torch_does_goes_on(recwarn: pytest.WarningsRecorder) -> None:
    pytest.importorskip("psutil")  # without it loky does not look
    with Workers(1, 1) as workers:
        first = workers.submit(grow).result()
        assert workers.submit(os.getpid).result() == first
    assert not recwarn.list
