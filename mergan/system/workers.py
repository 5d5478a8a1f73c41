"""Worker processes that train side by side: each takes one job at a time, and dies with this process."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from mergan.system import standard_streams

GRACE = 20.0  # seconds that a stopped job has for the step it is in
WATCH = 0.2  # seconds between two looks at the parent


class WorkerDied(Exception):
    """The process of a job was killed, e.g. by the system because memory ran out."""


class Workers:
    """A number of slots, each with a process of its own, in which jobs run one after another.

    One process per job at a time, so that a process that dies takes its own job along and no other. The
    processes are joblib's (loky): they import nothing of the program's script, and functions travel by value.

    Args:
        jobs: number of slots.
        threads: threads that PyTorch uses in each process.
        gpus: numbers or names of GPUs for CUDA_VISIBLE_DEVICES. A slot gets one of them for as long as it
            exists; slots take turns if there are more slots than GPUs. Empty: the slots see what this process
            sees.
    """

    def __init__(self, jobs: int, threads: int, gpus: Sequence[str] = ()) -> None:
        import joblib.externals.loky  # noqa: F401  # before several threads need it at once

        self._environments = [_environment(threads, gpus, slot) for slot in range(jobs)]
        self._free = list(range(jobs))
        self._slots: dict[int, _Slot] = {}
        self._own = threading.local()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(jobs, "worker", initializer=self._take_slot)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run `function(*arguments)` in the next free slot.

        Returns:
            Its future result. `result()` raises what the function raises, or WorkerDied.
        """
        return self._threads.submit(self._run, function, arguments)

    def stop(self) -> None:
        """End all jobs: each is asked to end after the step it is in, and killed if it does not."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for slot in list(self._slots.values()):
            slot.ask_to_end()
        deadline = time.monotonic() + GRACE
        while any(slot.busy for slot in list(self._slots.values())) and time.monotonic() < deadline:
            time.sleep(0.05)
        for slot in list(self._slots.values()):
            slot.end(kill=slot.busy)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes; after an error or a signal also their jobs."""
        if kind is not None:
            self.stop()
            return
        self._threads.shutdown()
        for wait in (False, True):  # let all of them end before waiting for the first
            for slot in self._slots.values():
                slot.end(kill=False, wait=wait)

    def _take_slot(self) -> None:
        with self._lock:
            number = self._free.pop(0)
            self._own.slot = self._slots[number] = _Slot(self._environments[number])

    def _run(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        return self._own.slot.run(function, arguments)


class _Slot:
    """One process, started when it is needed and replaced when it has died."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._pool: Any = None
        self._pid: int | None = None
        self._ended = False
        self.busy = False

    def run(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        self.busy = True
        try:
            with self._lock:
                if self._ended:
                    raise WorkerDied("stopped before it began")
                if self._pool is None:
                    self._start()
                result = self._pool.submit(function, *arguments)
            return result.result()
        except BrokenProcessPool as error:
            self._close(kill=True)
            raise WorkerDied(f"its process was killed ({_cause(error)})") from None
        finally:
            self.busy = False

    def ask_to_end(self) -> None:
        with self._lock:
            self._ended = True
            if self._pid is not None and self.busy:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGTERM)

    def end(self, kill: bool, wait: bool = True) -> None:
        with self._lock:
            self._ended = True
        if wait:
            self._close(kill)
        elif self._pool is not None:
            self._pool.shutdown(wait=False)

    def _close(self, kill: bool) -> None:
        with self._lock:
            pool, self._pool, self._pid = self._pool, None, None
        if pool is not None:
            pool.shutdown(wait=True, kill_workers=kill)

    def _start(self) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(
            max_workers=1, env=self._environment, initializer=_begin, initargs=(os.getpid(),)
        )
        self._pid = self._pool.submit(os.getpid).result()


def _environment(threads: int, gpus: Sequence[str], slot: int) -> dict[str, str]:
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return numbers | ({"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {})


def _cause(error: BaseException) -> str:
    """What loky says of the exit codes, e.g. SIGKILL(-9)."""
    said = str(error)
    return said[said.rindex("{") + 1 : said.rindex("}")] if "{" in said and "}" in said else "no exit code"


def _begin(parent: int) -> None:
    """Set up a worker process: the terminal's Ctrl-C is for the parent, whose end is the worker's too.

    Where psutil is installed, loky ends a worker that has grown by 300 MB since its first call, as if memory
    leaked. The first training grows it by more, because it imports torch.
    """
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(standard_streams.leave)  # registered first, so called last
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os.kill(os.getpid(), signal.SIGKILL)  # a run that is killed goes on from its last checkpoint


@contextmanager
def output_in(path: Path) -> Iterator[None]:
    """Append the standard output and error of this process to a file for as long as the context is open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs = (sys.stdout, sys.stderr)
    before = [os.dup(number) for number in (1, 2)]
    with path.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for stream in outputs:
            stream.flush()
        for number, descriptor in enumerate(before, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
