"""What a job of `hydra/launcher=slurm` does: it trains, and has itself started again when its time ends."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig

from mergan import config
from mergan.output.folder import RunFolder
from mergan.system import interrupts
from mergan.system.errors import ConfigError

STARTED_AGAIN = "SLURM_RESTART_COUNT"  # Slurm sets it from the second start on, whatever ended the one before


def run(task: TaskFunction, cfg: DictConfig) -> Any:
    """Run a job in the process that submitit has started for it.

    submitit handles SIGUSR2, by which Slurm announces the end of the time, at once, wherever the program is.
    Here the run stops between two steps, as after any signal, and submitit's handler is called then. It asks
    Slurm to start the job again, and ends the process. SIGTERM is left to submitit, which ignores it: Slurm
    sends it when it preempts a job, and a job that ended by itself then would not be started again.

    Args:
        task: the job of the sweep.
        cfg: its configuration.

    Raises:
        ConfigError: the job must not be started again.
        Exception: what the task raises, in a form that reaches the command which waits for it.
    """
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    ask_again: Any = signal.getsignal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    interrupts.install()
    if int(os.environ.get(STARTED_AGAIN, 0)):
        cfg = cfg.copy()
        cfg.resume = config.Resume.auto
    before = _age(folder.last)
    try:
        return task(cfg)
    except interrupts.Interrupted:
        if ask_again.__self__.has_timed_out() and _age(folder.last) == before:
            raise _refused(
                "timeout_min", "is too short: no epoch ended in that time; give the job more"
            ) from None
        _start_again(ask_again)
    except Exception as error:
        raise _portable(error) from error


def _start_again(ask_again: Any) -> None:
    """End this process, with the job back in the queue.

    Raises:
        ConfigError: it has been there too often.
    """
    from submitit.core.utils import UncompletedJobError

    try:
        ask_again(signal.SIGUSR2, None)
    except UncompletedJobError:
        raise _refused("max_num_timeout", "the job reached its time limit more often") from None


def _refused(key: str, why: str) -> ConfigError:
    name = f"hydra.launcher.{key}"
    return ConfigError(f"{name}={HydraConfig.get().launcher[key]}: {why}, and go on with resume=auto")


def _age(path: Path) -> int | None:
    """When a file was written, in nanoseconds; None: there is none."""
    return path.stat().st_mtime_ns if path.is_file() else None


def _portable(error: Exception) -> Exception:
    """The error, or its text if the error cannot be carried to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
