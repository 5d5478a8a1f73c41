"""Several processes for one run (docs/several-processes.md): start them, watch them, end them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mergan.config import trainer_arguments
from mergan.output.folder import RunFolder
from mergan.system import interrupts
from mergan.system.errors import LostProcessError
from mergan.system.launched import OURS, member

log = logging.getLogger(__name__)

MEMBER = "mergan.cli.member"  # the program of each process
FOLDER = "MERGAN_FOLDER"  # tells them the run folder
LOST = 75  # exit status of a process that another one has left alone
PATIENCE = 60.0  # seconds in which the others may end by themselves when one has
CAUSE = 5.0  # seconds in which the process that left the others alone may end
POLL = 0.05  # seconds


def to_start(cfg: DictConfig) -> int:
    """How many processes a command is to start for its run; 1: none beside itself.

    Raises:
        ConfigError: this machine does not have that many devices.
    """
    me = member()
    shared = cfg.trainer.get("strategy") == trainer_arguments.SEVERAL
    if not shared or me.count > 1 or me.starter == "torchrun":
        return 1
    devices = cfg.trainer.get("devices")
    if cfg.trainer.get("accelerator") == "cpu" and isinstance(devices, int):
        return devices  # checked already, without torch
    from mergan.run import resources

    resources.check_accelerator(cfg.trainer)
    return resources.processes_here(cfg.trainer)


def run(count: int, folder: RunFolder, hydra_folder: Path) -> None:
    """Start the processes of a run on this machine, and wait for their end.

    They are started as by torchrun, with the words of the command. If one ends early, so do the others. If
    this process is asked to end, it passes that on.

    Args:
        count: how many.
        folder: the run folder.
        hydra_folder: that of the command, where a new run would go.

    Raises:
        LostProcessError: a process has failed or was killed; its exit status is that of the process.
    """
    words = _words()
    with tempfile.TemporaryDirectory() as reports:
        places = [Path(reports) / str(rank) for rank in range(count)]
        environment = _environment(count, hydra_folder)
        environments = [
            {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank), OURS: str(place)}
            for rank, place in enumerate(places)
        ]
        with _ended([_start(words, environment) for environment in environments]) as started:
            first = _first_failure(started)
        if first is not None:
            raise _failure(started, first, places, folder)


def _words() -> list[str]:
    """The words of this job for a process of its own."""
    hydra_cfg = HydraConfig.get()
    sources = [source for source in hydra_cfg.runtime.config_sources if source.provider == "command-line"]
    folders = [part for source in sources for part in ("--config-dir", source.path)]
    further: Any = OmegaConf.to_container(hydra_cfg.overrides.hydra)
    typed: Any = OmegaConf.to_container(hydra_cfg.overrides.task)  # with their interpolations
    searched = [word for word in further if word.lstrip("+").startswith("hydra.searchpath=")]
    return [*folders, *searched, *typed, f"hydra.run.dir=${{oc.env:{FOLDER}}}"]


def _environment(count: int, folder: Path) -> dict[str, str]:
    """What all processes get: where they meet, how many they are, the same paths and a share of the cores."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threads = max(1, trainer_arguments.processors() // count)
    return {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        FOLDER: str(folder),
    }


def _start(words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start one process. It ends when its standard input does, so also if this process is killed."""
    return subprocess.Popen([sys.executable, "-m", MEMBER, *words], stdin=subprocess.PIPE, env=environment)


# ------------------------------------------------------------------ until all have ended


def _first_failure(started: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until all processes have ended well, or one has not: then return its number."""
    late = None
    while True:
        statuses = [process.poll() for process in started]
        failed = [rank for rank, status in enumerate(statuses) if status not in (None, 0)]
        if failed:
            first = min(failed, key=lambda rank: statuses[rank] == LOST)
            late = late or time.monotonic() + CAUSE
            # those that were left alone may end before the one that left them
            if statuses[first] != LOST or time.monotonic() > late:
                return first
        elif all(status == 0 for status in statuses):
            return None
        time.sleep(POLL)


@contextmanager
def _ended(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """Let no process outlive this context. A signal to this process is passed on to them."""
    number = signal.SIGTERM
    try:
        yield started
    except KeyboardInterrupt:
        number = signal.SIGINT
        raise
    except interrupts.Interrupted as stop:
        number = signal.Signals(stop.number)
        raise
    finally:
        try:
            _end(started, number)
        finally:  # also at a second signal
            for process in started:
                process.kill()
                process.wait()
                assert process.stdin is not None
                process.stdin.close()


def _end(started: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    """Ask all to end, and wait for them."""
    for process in started:
        if process.poll() is None:
            process.send_signal(number)
    late = time.monotonic() + PATIENCE
    for process in started:
        try:
            process.wait(max(0.0, late - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("process %d does not end and is killed", process.pid)


def _failure(
    started: Sequence[subprocess.Popen[bytes]], first: int, reports: Sequence[Path], folder: RunFolder
) -> LostProcessError:
    """Why the run has failed: what the first process says that says anything, else how one of them ended."""
    for rank in (first, *range(len(started))):
        if reports[rank].is_file():
            return LostProcessError(reports[rank].read_text(encoding="utf-8"), started[rank].returncode)
    status = started[first].returncode
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"failed with status {status}"
    remedy = f"go on with ckpt_path={folder.last}" if folder.last.is_file() else "start again"
    return LostProcessError(f"process {first} of {len(started)} {how}, and the run with it; {remedy}",
                            1 if status == 1 else 3)  # fmt: skip
