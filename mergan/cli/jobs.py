"""The jobs of a command (one, or those of a sweep), their results, and the closing table."""

from __future__ import annotations

import logging
import os
import re
import shlex
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.cli import messages, words
from mergan.cli.recording import Recording
from mergan.output import places, tables
from mergan.output.folder import RunFolder
from mergan.run import launch
from mergan.run.announcement import announce
from mergan.run.generator import checkpoint_of
from mergan.run.launch import Place
from mergan.system import interpreter
from mergan.system.errors import ConfigError
from mergan.system.launched import member
from mergan.system.text import shown

# words that a command which goes on must repeat: how the machine is used, and where a tracker sends
OF_COMMAND = re.compile(r"\+?(trainer(=|\.(strategy|devices|num_nodes)=)|logger[.=](?!.*=null$|default$))")
PATIENCE = 10.0  # seconds that a job of a sweep waits for a process of the same sweep that is ending


@dataclass
class Job:
    """One job of this process, and its result."""

    folder: Path | None
    name: str
    metrics: dict[str, float | str] = field(default_factory=dict)
    error: Exception | None = None
    repeated: list[str] = field(default_factory=list)  # the words that a command which goes on needs too


started: list[Job] = []  # by this process, in order


def train_job(cfg: DictConfig) -> float | None:
    """Check the configuration and train.

    In a single run an error is kept for `guard`, which reports it in one line. In a multirun it is reported
    at once and raised, so that Hydra continues with the next job and a sweeper sees the failure.

    Returns:
        The final accuracy, for sweepers that optimise.
    """
    hydra_cfg = HydraConfig.get()
    multirun = hydra_cfg.mode == RunMode.MULTIRUN
    folder = Path(hydra_cfg.runtime.output_dir)
    overrides = OmegaConf.to_container(hydra_cfg.overrides.task)  # as typed, with their interpolations
    assert isinstance(overrides, list)
    of_command = [word for word in map(str, overrides) if OF_COMMAND.match(word)]
    job = Job(folder, ",".join(map(str, overrides)) or "defaults", repeated=of_command)
    started.append(job)
    if multirun:
        record = Recording(hydra_cfg, folder)
        print(shown(f"job {record.place()}: {record.varied() or job.name}"), flush=True)
        _train_recorded(cfg, job, record, folder)
    else:
        try:
            job.metrics = _train(cfg, job, folder)
        except Exception as error:
            job.error = error
            return None
        columns = tables.columns([job.metrics])
        print(tables.plain(list(columns.values()), [tables.figures(job.metrics, columns)]))
        print(f"run folder: {job.folder}")
    return float(job.metrics["accuracy"])


def _train_recorded(cfg: DictConfig, job: Job, record: Recording, folder: Path) -> None:
    """Train as one of the jobs of a sweep."""
    try:
        job.metrics = _train(cfg, job, folder, PATIENCE)
    except Exception as error:
        job.error = error
        messages.report(error)
        record.failed(error, job.folder or folder)
        raise
    except BaseException:
        record.stopped()
        raise
    record.finished(job.metrics, job.folder or folder)


def _train(cfg: DictConfig, job: Job, folder: Path, patience: float = 0) -> dict[str, float | str]:
    try:
        cfg, place = checked(cfg, folder)
        job.folder = place.folder.path
        announce(cfg, place.folder, place.checkpoint)
        get_ready(cfg)
        interpreter.keep_what_is_there()
        return launch.run(cfg, folder, patience)
    finally:
        places.remove_if_empty(folder)  # Hydra makes one for every job


def checked(cfg: DictConfig, folder: Path) -> tuple[DictConfig, Place]:
    """Check the configuration of a training.

    Args:
        cfg: the composed configuration.
        folder: the folder of a new run.

    Returns:
        The configuration to train, with absolute paths and its caps applied, and where the command works.

    Raises:
        ConfigError, DataError: see mergan.config.check and mergan.run.launch.choose_place.
    """
    config.check(cfg)
    cfg = config.apply_caps(config.absolute_paths(cfg))
    return cfg, launch.choose_place(cfg, folder)


def get_ready(cfg: DictConfig) -> None:
    """Set up the process for a training."""
    keep_fonts_in(Path(cfg.cache_dir))
    with interpreter.collector_paused():
        import lightning.pytorch  # noqa: F401  # which sets the levels of its loggers when it is imported

        import mergan.run.experiment  # noqa: F401

    quieten()


def small_job(run: Callable[[DictConfig], None], cfg: DictConfig) -> None:
    """Run a command that has no run folder (sample, evaluate), and keep its error for `guard`."""
    job = Job(None, run.__module__)
    started.append(job)
    try:
        _look_at(cfg)
        with quiet_surroundings(cfg.get("cache_dir")):
            run(cfg)
    except Exception as error:
        job.error = error


@contextmanager
def quiet_surroundings(cache_dir: str | None = None) -> Iterator[None]:
    """Keep libraries from making remarks, and from writing files into the home folder.

    Args:
        cache_dir: the folder of its caches; None: it has none.
    """
    quieten()
    with tempfile.TemporaryDirectory() as nowhere:
        keep_fonts_in(Path(nowhere if cache_dir is None else cache_dir).expanduser().absolute())
        yield


def _look_at(cfg: DictConfig) -> None:
    """Refuse a command whose file is missing, before importing torch to read it.

    Raises:
        ConfigError: the message names the key.
        CheckpointError: a folder holds no checkpoint.
    """
    config.check_interpolations(cfg)
    for key in sorted(OmegaConf.missing_keys(cfg)):
        raise ConfigError(f"{key}: is missing; name it with {key}=...")
    if "checkpoint" in cfg and not config.is_file(cfg.checkpoint):
        folder = os.path.expanduser(cfg.checkpoint)
        if not os.path.isdir(folder):
            raise ConfigError(f"checkpoint={cfg.checkpoint}: there is no such file and no such run folder")
        checkpoint_of(Path(folder))


def keep_fonts_in(folder: Path) -> None:
    """Make matplotlib, which torchmetrics imports, keep its font list in a cache, not in the home folder."""
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # an unwritable cache is reported later


def quieten() -> None:
    """Hide Lightning's hints for its own users; mergan does the checks that matter."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    threading.excepthook = _thread_failed


def _thread_failed(arguments: threading.ExceptHookArgs) -> None:
    """Ignore OSErrors of TensorBoard's writer thread: it raises them in the main thread too."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def how_to_go_on(command: str) -> str:
    """What to add to the message that the last job was stopped: how to resume it.

    Args:
        command: the command that started it, e.g. "mergan train".
    """
    folder = started[-1].folder if started else None
    if folder is None:
        return ""
    last = RunFolder(folder).last
    if not last.is_file():
        return " before the first checkpoint; start again"
    repeated, me = [shlex.quote(word) for word in started[-1].repeated], member()
    if me.count > 1 and me.count == me.local_count:  # without torchrun, the command must say how many
        repeated.append(f"trainer.devices={me.count}")
    return f"; go on with {' '.join([command, words.literal('ckpt_path', str(last)), *repeated])}"
