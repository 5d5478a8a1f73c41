"""What surrounds the work on the command line: errors as one line, exit status, the closing table."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
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
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mergan import config
from mergan.cli import words
from mergan.output import places, tables
from mergan.output.folder import RunFolder
from mergan.run import launch
from mergan.system import environment, interrupts, standard_streams
from mergan.system.errors import ConfigError, MerganError
from mergan.system.text import shortened, shown

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
OUT_OF_MEMORY = ("out of memory", "allocate memory")  # of a GPU, of the CPU
LONGEST = 1000  # characters of a line
UNEXPECTED, REFUSED = 1, 2  # further statuses stand in mergan.system.errors and mergan.system.interrupts


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
    words = OmegaConf.to_container(hydra_cfg.overrides.task)  # as they stand, interpolations and all
    assert isinstance(words, list)
    job = Job(folder, ",".join(map(str, words)) or "defaults")
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
        _look_at(cfg)
        with tempfile.TemporaryDirectory() as nowhere:
            _keep_fonts_in(Path(cfg.get("cache_dir", nowhere)).expanduser().absolute())
            run(cfg)
    except Exception as error:
        job.error = error


def _keep_fonts_in(folder: Path) -> None:
    """Tell matplotlib, which torchmetrics imports, to keep its list of fonts in a cache and not at home."""
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a cache that cannot be written is named later


def _look_at(cfg: DictConfig) -> None:
    """Refuse a command whose file is missing, before torch is imported to read it.

    Raises:
        ConfigError: naming the key.
    """
    config.check_interpolations(cfg)
    for key in sorted(OmegaConf.missing_keys(cfg)):
        raise ConfigError(f"{key}: is missing; name it with {key}=...")
    if "checkpoint" in cfg and not config.is_file(cfg.checkpoint):
        raise ConfigError(f"checkpoint={cfg.checkpoint}: there is no such file")


def _train(cfg: DictConfig, job: Job, folder: Path) -> dict[str, float | str]:
    try:
        config.check(cfg)
        cfg = config.apply_caps(config.absolute_paths(cfg))
        job.folder = launch.choose_place(cfg, folder).folder.path
        _keep_fonts_in(Path(cfg.cache_dir))
        import lightning.pytorch  # noqa: F401  # which sets the levels of its loggers when it is imported

        _quieten()
        return launch.run(cfg, folder)
    finally:
        places.remove_if_empty(folder)  # Hydra makes one for every job


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


def guard(main: Callable[[], Any], hydra: bool = False) -> int:
    """Run `main`; turn what happens into one line and an exit status (docs/ARCHITECTURE.md).

    Args:
        main: the work of the command.
        hydra: whether Hydra reads the command line; its words are then looked at first.
    """
    standard_streams.secure()
    interrupts.install()
    status = 0
    try:
        environment.settle()
        if hydra:
            sys.argv[1:] = words.prepare(sys.argv[1:])
        main()
    except (KeyboardInterrupt, interrupts.Interrupted) as stop:
        status = stop.exit_status if isinstance(stop, interrupts.Interrupted) else interrupts.CTRL_C
        print(f"stopped{_how_to_go_on()}", file=sys.stderr)
    except SystemExit as stop:
        if _jobs or stop.code != UNEXPECTED:
            raise
        status = REFUSED  # Hydra has said why
    except Exception as error:
        if not any(job.error is error for job in _jobs):  # else it has been reported, or will be below
            status = _report(error if _jobs else _of_command_line(error))
    failed = [job.error for job in _jobs if job.error is not None]
    if len(_jobs) > 1 or (_jobs and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN):
        print(_sweep_table())
        status = status or (_status(failed[0]) if failed else 0)
    elif failed:
        status = _report(failed[0])
    return status


def _of_command_line(error: Exception) -> Exception:
    """An error from before the first job: Hydra could not read the command, or not make the run folder."""
    if isinstance(error, OSError) and error.strerror:
        key = "hydra.sweep.dir" if {"-m", "--multirun"} & set(sys.argv) else "hydra.run.dir"
        return ConfigError(f"{key}={error.filename}: the folder cannot be made ({error.strerror})")
    if isinstance(error, OmegaConfBaseException) and not getattr(error, "full_key", None):
        asking = [word for word in sys.argv[1:] if "${" in word]
        return ConfigError(f"{asking[0] if len(asking) == 1 else 'command line'}: {_one_line(error)}")
    hydras = isinstance(error, ValueError) and not isinstance(error, OmegaConfBaseException)
    return ConfigError(f"command line: {error}") if hydras else error


def _override(key: str, path: Path) -> str:
    """A word for the command line that sets a key to a path."""
    return words.literal(key, str(path))


def _how_to_go_on() -> str:
    folder = _jobs[-1].folder if _jobs else None
    if folder is None:
        return ""
    last = RunFolder(folder).last
    if not last.is_file():
        return " before the first checkpoint; start again"
    return f"; go on with python train.py {_override('ckpt_path', last)}"


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
    if _out_of_memory(error) or (isinstance(error, OSError) and error.filename is not None):
        return REFUSED
    return UNEXPECTED


def _out_of_memory(error: Exception) -> bool:
    """Whether the machine, or the GPU, has no memory left; PyTorch says so in the message alone."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    )


def _one_line(error: Exception) -> str:
    """The message without line breaks and without what only Hydra's developers need."""
    text = " ".join(str(error).split())
    if _out_of_memory(error):
        return "there is not enough memory; try a smaller batch_size or narrower networks"
    if isinstance(error, OSError) and not isinstance(error, MerganError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        text += ": " + " ".join(str(error.__cause__).split())
    for pattern in HYDRA_NOISE:
        text = pattern.sub("", text)
    key = getattr(error, "full_key", None)
    if key and str(key) not in text:
        text = f"{key}: {text}"
    text = UNKNOWN_KEY.sub(r"unknown key \1; --help shows all keys", text)
    return shortened(shown(text.strip(" :;")), LONGEST)  # names in it may come from anybody


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
