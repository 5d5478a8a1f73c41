"""What surrounds the work on the command line: errors as one line, exit status, the closing table."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mergan import config, interrupts, launch, outputs, streams, tables
from mergan.errors import ConfigError, MerganError

# what Hydra and OmegaConf add to their messages
HYDRA_NOISE = [
    re.compile(pattern)
    for pattern in (
        r"^In 'train': ",
        r"^Error merging override ",
        r" Config search path: .*",
        r" full_key: ?[^ ]*",
        r" (object_type|reference_type)=\w+",
        r"\. To append to your config use [^ ]+",
    )
]
UNKNOWN_KEY = re.compile(r"Could not override '([^']*)'.*")
UNEXPECTED, REFUSED = 1, 2  # further statuses stand in mergan.errors and mergan.interrupts


@dataclass
class Job:
    """One job of this process and what it came to."""

    folder: Path | None
    name: str
    metrics: dict[str, float | str] = field(default_factory=dict)
    error: Exception | None = None


_jobs: list[Job] = []


def train_job(cfg: DictConfig) -> float | None:
    """Check the configuration and train.

    In a single run an error is kept for `guard`, which reports it in one line. In a multirun it is
    reported at once and raised: Hydra goes on with the next job, and a sweeper learns of it.

    Returns:
        The final accuracy, for sweepers that optimise.
    """
    hydra_cfg = HydraConfig.get()
    multirun = hydra_cfg.mode == RunMode.MULTIRUN
    folder = Path(hydra_cfg.runtime.output_dir)
    job = Job(folder, ",".join(hydra_cfg.overrides.task) or "defaults")
    _jobs.append(job)
    if multirun:
        print(f"job {len(_jobs) - 1}: {job.name}", flush=True)
    try:
        job.metrics = _train(cfg, job, folder)
    except Exception as error:
        job.error = error
        if not multirun:
            return None
        _report(error)
        raise
    if not multirun:
        print(tables.plain(list(tables.COLUMNS.values()), [tables.figures(job.metrics)]))
        print(f"run folder: {job.folder}")
    return float(job.metrics["accuracy"])


def small_job(run: Callable[[DictConfig], None], cfg: DictConfig) -> None:
    """Run a command that has no run folder (sample, evaluate), and keep its error for `guard`."""
    job = Job(None, run.__module__)
    _jobs.append(job)
    _quieten()
    try:
        run(cfg)
    except Exception as error:
        job.error = error


def _train(cfg: DictConfig, job: Job, folder: Path) -> dict[str, float | str]:
    try:
        config.check(cfg)
        cfg = config.apply_caps(config.absolute_paths(cfg))
        job.folder = launch.choose_place(cfg, folder).folder
        # matplotlib, which torchmetrics imports, would otherwise keep its list of fonts in the home folder
        os.environ.setdefault("MPLCONFIGDIR", str(Path(cfg.cache_dir) / "matplotlib"))
        logging.getLogger("matplotlib").setLevel(
            logging.ERROR
        )  # a cache that cannot be written is named later
        import lightning.pytorch  # noqa: F401  # which sets the levels of its loggers when it is imported

        _quieten()
        return launch.run(cfg, folder)
    finally:
        outputs.remove_if_empty(folder)  # Hydra makes one for every job


def _quieten() -> None:
    """Keep Lightning's hints for its own users off the screen; what matters here is checked here."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    threading.excepthook = _thread_failed


def _thread_failed(arguments: threading.ExceptHookArgs) -> None:
    """TensorBoard's writer raises what the disk says to it in the main thread too: one report is enough."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def guard(main: Callable[[], Any]) -> int:
    """Run `main`; turn what happens into one line and an exit status (docs/ARCHITECTURE.md)."""
    streams.secure()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # whatever it was: errors come through to here
    interrupts.install()
    status = 0
    try:
        main()
    except (KeyboardInterrupt, interrupts.Interrupted) as stop:
        status = stop.exit_status if isinstance(stop, interrupts.Interrupted) else interrupts.CTRL_C
        print(f"stopped{_how_to_go_on()}", file=sys.stderr)
    except ValueError as error:
        if _jobs:
            raise
        status = _report(ConfigError(f"command line: {error}"))  # Hydra could not read it
    except Exception as error:
        if not any(job.error is error for job in _jobs):  # else it has been reported, or will be below
            status = _report(error)
    failed = [job.error for job in _jobs if job.error is not None]
    if len(_jobs) > 1 or (_jobs and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN):
        print(_sweep_table())
        status = status or (_status(failed[0]) if failed else 0)
    elif failed:
        status = _report(failed[0])
    return status


def _how_to_go_on() -> str:
    folder = _jobs[-1].folder if _jobs else None
    if folder is None:
        return ""
    last = folder / "checkpoints" / "last.ckpt"
    if not last.is_file():
        return " before the first checkpoint; start again"
    return f"; go on with python train.py {_override('ckpt_path', last)}"


def _override(key: str, path: Path) -> str:
    """A word for the command line that sets a key to a path, whatever characters that has."""
    if re.fullmatch(r"[\w./:+-]+", str(path), re.ASCII):
        return f"{key}={path}"
    quoted = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return shlex.quote(f"{key}='{quoted}'")


def _report(error: Exception) -> int:
    """Print the error, in one line if the user can mend it; returns the exit status."""
    status = _status(error)
    if status == UNEXPECTED:
        traceback.print_exception(error)
    else:
        print(f"error: {_one_line(error)}", file=sys.stderr, flush=True)
    return status


def _status(error: Exception) -> int:
    if isinstance(error, MerganError):
        return error.exit_status
    refused = (HydraException, OmegaConfBaseException)
    if isinstance(error, AttributeError) and hasattr(error, "full_key"):
        return REFUSED  # OmegaConf's too: it marks what it raises with the key
    if isinstance(error, refused) or type(error).__name__ == "MisconfigurationException":
        return REFUSED
    return UNEXPECTED


def _one_line(error: Exception) -> str:
    """The message without line breaks and without what only Hydra's developers need."""
    text = " ".join(str(error).split())
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        text += ": " + " ".join(str(error.__cause__).split())
    for pattern in HYDRA_NOISE:
        text = pattern.sub("", text)
    text = UNKNOWN_KEY.sub(r"unknown key \1; python train.py --help shows all keys", text)
    return text.strip(" :;")


def _sweep_table() -> str:
    rows = []
    for index, job in enumerate(_jobs):
        outcome = (
            tables.figures(job.metrics)
            if job.error is None
            else ["failed", *["-"] * (len(tables.COLUMNS) - 1)]
        )
        rows.append([f"{index} {job.name}", *outcome, str(job.folder)])
    return tables.plain(["job", *tables.COLUMNS.values(), "run folder"], rows)
