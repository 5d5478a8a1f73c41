"""Checks of the configuration that need no torch, so that a wrong value is refused at once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mergan.config import slots, trainer_arguments
from mergan.config.inception_weights import find_weights
from mergan.config.schema import Features
from mergan.config.stream import is_joined, scenario, stream_kind
from mergan.system.errors import ConfigError

SEED_RANGE = "a whole number from 0 to 2147483647"
MOST = 2**31 - 1  # of anything that is counted
COUNT = "a whole number of 1 or more, below 2^31"
MOST_STEPS = 1e9  # of a task: months at a hundred steps in a second


# settings that several parts share, and the key that sets them all
SHARED = {
    "learner.latent_dim": "embedding_dim",
    "network.generator.latent_dim": "embedding_dim",
    "learner.batch_size": "batch_size",
    "data.source.channels": "data.channels",
    "data.source.num_classes": "data.num_classes",
}


def check(cfg: DictConfig) -> None:
    """Refuse the configuration of a command that cannot be run here; types and names have been checked
    against the schema before.

    Raises:
        ConfigError: naming the key, its value and what is allowed.
        DataError: the weights that evaluation.features=inception needs are missing.
    """
    check_values(cfg)
    if cfg.ckpt_path is not None and cfg.init_from is not None:
        raise ConfigError("ckpt_path resumes a run and init_from starts a new one: give one of them")
    for key in ("ckpt_path", "init_from"):
        path = cfg[key]
        if path is not None and not is_file(path):
            raise ConfigError(f"{key}={path}: there is no such file")
    check_machine(cfg)


def check_values(cfg: DictConfig) -> None:
    """Refuse values out of range, on whatever machine.

    Raises:
        ConfigError: naming the key, its value and what is allowed.
    """
    check_evaluation(cfg)
    slots.check(cfg)
    for key in ("batch_size", "embedding_dim"):
        _require(cfg, key, _countable, COUNT)
    for key in ("steps_per_epoch", "data.num_classes"):
        _require(cfg, key, lambda value: value is None or _countable(value), f"{COUNT}, or null")
    for key in ("lr", "lr_d"):
        _require(cfg, key, lambda value: value is None or 0 < value < math.inf, "a number above 0")
    _require(cfg, "seed", lambda value: 0 <= value < 2**31, SEED_RANGE)
    for key in ("recovery.attempts", "recovery.used"):
        _require(cfg, key, lambda value: value >= 0, "a whole number of 0 or more")
    _require(cfg, "recovery.lr_factor", lambda value: 0 < value < 1, "a number between 0 and 1")
    _require(cfg, "data.val_fraction", lambda value: 0 < value < 1, "a number between 0 and 1")
    _require(cfg, "data.image_size", lambda value: value in (16, 32, 64), "16, 32 or 64")
    _require(cfg, "data.channels", lambda value: value in (1, 3), "1 (grey) or 3 (colour)")
    for key, source in SHARED.items():
        value, shared = OmegaConf.select(cfg, key), OmegaConf.select(cfg, source)
        if value is not None and value != shared:
            raise ConfigError(f"{key}={value}: must be {source}, which is {shared}; set {source}= alone")
    _check_epochs(cfg.epochs)
    _check_length(cfg)
    _check_stream(cfg)


def check_machine(cfg: DictConfig) -> None:
    """Refuse what this machine does not have, as far as can be seen without torch.

    Raises:
        ConfigError: naming the key.
        DataError: as `check`.
    """
    trainer_arguments.check(cfg.trainer)
    if cfg.evaluation.features is Features.inception and cfg.caps is None:
        find_weights(cfg.evaluation.inception_weights, cfg.cache_dir)
    _check_folder("cache_dir", cfg.cache_dir)


def check_evaluation(cfg: DictConfig) -> None:
    """Refuse values of `cfg.evaluation` that are out of range.

    Raises:
        ConfigError: naming the key, its value and what is allowed.
    """
    check_interpolations(cfg)
    slots.check_collection(cfg, "evaluation.metrics")
    for key in ("samples_per_class", "references_per_class", "k", "reverse_steps", "classifier_steps"):
        _require(cfg, f"evaluation.{key}", _countable, COUNT)
    _require(
        cfg,
        "evaluation.reverse_per_class",
        lambda value: value == 0 or _countable(value),
        "a whole number of 0 or more (0: not measured)",
    )
    _require(cfg, "evaluation.seed", lambda value: 0 <= value < 2**31, SEED_RANGE)


def _require(cfg: DictConfig, key: str, holds: Callable[[Any], bool], wanted: str) -> None:
    value = OmegaConf.select(cfg, key)
    if not holds(value):
        raise ConfigError(f"{key}={value}: use {wanted}")


def _check_epochs(epochs: Any) -> None:
    entries = list(epochs) if isinstance(epochs, (ListConfig, list)) else [epochs]
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, int) or not _countable(entry):
            raise ConfigError(f"epochs={epochs}: use {COUNT}, or a list with one per task")


def _countable(value: int) -> bool:
    return 1 <= value <= MOST


def check_interpolations(cfg: DictConfig) -> None:
    """Resolve every `${...}`, so that one that leads nowhere is named by its key.

    Raises:
        ConfigError: naming it.
    """
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None)
        said = str(error).splitlines()[0].removeprefix("KeyError raised while resolving interpolation: ")
        raise ConfigError(f"{key}: {said}" if key else said) from error


def _check_length(cfg: DictConfig) -> None:
    """Refuse a stream of more steps than a computer makes in its life."""
    longest = max(cfg.epochs, default=1) if isinstance(cfg.epochs, ListConfig) else cfg.epochs
    steps = longest * (cfg.steps_per_epoch or 1)
    if steps > MOST_STEPS:
        raise ConfigError(
            f"epochs={longest}: {steps:.1g} steps for a task are more than {MOST_STEPS:.0g}; use fewer, "
            "or a smaller steps_per_epoch"
        )


def _check_stream(cfg: DictConfig) -> None:
    """Refuse a stream as far as can be seen without the data: without the number of classes, or without the
    classes that `init_from` knows, only the arguments of its kind.
    """
    stream_kind(cfg)
    is_joined(cfg)
    if cfg.data.num_classes is not None and cfg.init_from is None:
        scenario(cfg, cfg.data.num_classes)


def is_file(path: str) -> bool:
    """Whether there is a file of that name; false for a name that no file can have."""
    try:
        return Path(path).expanduser().is_file()
    except (OSError, RuntimeError):  # a name that no file can have, a home folder that is not there
        return False


def _check_folder(key: str, folder: str) -> None:
    """Refuse a folder that cannot be made, as far as can be seen without making it."""
    if not folder:
        raise ConfigError(f"{key}={folder!r}: name a folder")
    path = Path(folder).expanduser().absolute()
    try:
        there = next(part for part in (path, *path.parents) if part.exists())
    except OSError as error:
        raise ConfigError(f"{key}={folder}: {error.strerror}; name another folder") from error
    if not there.is_dir():
        raise ConfigError(f"{key}={folder}: {there} is not a folder; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{key}={folder}: {there} cannot be written; name another folder")
