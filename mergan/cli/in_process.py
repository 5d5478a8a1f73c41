"""`mergan.train`: training without a command line, for scripts and notebooks."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from mergan import config
from mergan.cli import jobs, keys, messages, words
from mergan.output.record import Record, read_run
from mergan.run import launch
from mergan.run.announcement import announce
from mergan.system import environment
from mergan.system.errors import ConfigError, MerganError

NAME = "hydra.run.dir"


def train(
    overrides: Sequence[str] = (),
    folder: str | Path | None = None,
    config_dir: str | Path | None = None,
    patience: float = 0,
) -> Record:
    """Train in this process; see `mergan.train`.

    Args:
        overrides, folder, config_dir: see there.
        patience: seconds to wait for another process that is training in the run folder.
    """
    with in_one_line("train", overrides, config_dir):
        environment.check()
        cfg = _composed(overrides, folder, config_dir)
        with _hydra_config(cfg), _settings_of_the_process(), _ctrl_c(), _news():
            return read_run(_train(cfg, patience))


def check(overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """Compose the configuration of a training and refuse what `train` would refuse before it builds anything.

    Args:
        overrides, config_dir: see `train`.

    Returns:
        The configuration, with absolute paths and its caps applied.

    Raises:
        MerganError: the message is one line.
    """
    with in_one_line("train", overrides, config_dir):
        if config_dir is None:
            cfg = config.compose(*words.overrides(overrides))  # which keeps the files of conf/ in memory
        else:
            cfg = _without_hydra(_composed(overrides, None, config_dir))
        config.check(cfg)
        return config.apply_caps(config.absolute_paths(cfg))


@contextmanager
def in_one_line(
    command: str, overrides: Sequence[str], config_dir: str | Path | None = None
) -> Iterator[None]:
    """Raise what the user can fix as ConfigError, with a message of one line, whichever library found it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MerganError) or messages.status(error) == messages.UNEXPECTED:
            raise
        key = messages.unknown_key(error)
        folders = [] if config_dir is None else [Path(config_dir).expanduser()]
        said = keys.unknown(key, command, overrides, folders) if key else messages.one_line(error)
        raise ConfigError(said) from error


def _composed(
    overrides: Sequence[str], folder: str | Path | None, config_dir: str | Path | None
) -> DictConfig:
    """The configuration, including Hydra's own settings."""
    if isinstance(overrides, str):
        raise ConfigError(f"{overrides}: the settings are a list, e.g. [{overrides!r}]")
    for word in overrides:
        if word.startswith("-"):
            raise ConfigError(f"{word}: flags are for the command line; mergan.train takes KEY=VALUE only")
    given = words.overrides(overrides)
    if folder is not None:
        if any(word.startswith(f"{NAME}=") for word in given):
            raise ConfigError(f"{NAME}: is given, and folder={folder} as well; give one of them")
        given.append(words.quoted(NAME, str(Path(folder).expanduser())))
    folders = [] if config_dir is None else [Path(config_dir).expanduser()]
    for further in folders:
        if not further.is_dir():
            raise ConfigError(f"config_dir={further}: there is no such folder")
    return config.load_configuration("train", given, folders, hydra=True)


def _train(composed: DictConfig, patience: float) -> Path:
    """Train with the configuration; returns the run folder."""
    folder = Path(composed.hydra.run.dir).absolute()
    cfg, place = jobs.checked(_without_hydra(composed), folder)
    announce(cfg, place.folder, place.checkpoint)
    jobs.get_ready(cfg)
    launch.run(cfg, folder, patience)
    return place.folder.path


def _without_hydra(composed: DictConfig) -> DictConfig:
    cfg = composed.copy()
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


@contextmanager
def _hydra_config(cfg: DictConfig) -> Iterator[None]:
    """Set `HydraConfig` to this training while the context is open: the caller may be a Hydra program too."""
    own = HydraConfig.instance()
    before = own.cfg
    own.set_config(cfg)
    try:
        yield
    finally:
        own.cfg = before


@contextmanager
def _settings_of_the_process() -> Iterator[None]:
    """Restore afterwards what a command may change: loggers, warning filters, environment variables."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "matplotlib")]
    levels = [logger.level for logger in loggers]
    hook, fonts = threading.excepthook, os.environ.get("MPLCONFIGDIR")
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        threading.excepthook = hook
        if fonts is None:
            os.environ.pop("MPLCONFIGDIR", None)


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Restore the caller's handler of Ctrl-C: Lightning ignores the signal after the first one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _news() -> Iterator[None]:
    """Print the command's progress messages, unless the caller has set up logging."""
    logger = logging.getLogger("mergan")
    if logger.hasHandlers():
        yield
        return
    handler, level = _AboveTheBar(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = True


class _AboveTheBar(logging.Handler):
    """Prints records to standard output, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stdout)
