"""Checks of the configuration that need no torch, so that wrong values are refused at once."""

from __future__ import annotations

import os
import typing
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mergan.config import extras, hints, measures, slots, trainer_arguments
from mergan.config.ranges import Count32
from mergan.config.schema import EvaluationConfig, TrainConfig
from mergan.config.stream import is_joined, scenario, stream_kind
from mergan.system.errors import ConfigError

MOST_STEPS = 1e9  # of a task: months at a hundred steps per second

# settings that several parts share, and the key that sets them all
SHARED = {
    "learner.latent_dim": "embedding_dim",
    "network.generator.latent_dim": "embedding_dim",
    "learner.batch_size": "batch_size",
    "data.source.channels": "data.channels",
    "data.source.num_classes": "data.num_classes",
}


def check(cfg: DictConfig) -> None:
    """Refuse a configuration that cannot run here. Its types and names have already been checked against the
    schema.

    Raises:
        ConfigError: the message names the key, its value and what is allowed.
        DataError: the weights that a feature space needs are missing.
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
    """Refuse values that are missing or out of range on any machine.

    Raises:
        ConfigError: the message names the key, its value and what is allowed.
    """
    _check_missing(cfg)
    check_interpolations(cfg)
    _check_measures(cfg)
    slots.check(cfg)
    check_fields(cfg, TrainConfig)
    for key, source in SHARED.items():
        value, shared = OmegaConf.select(cfg, key), OmegaConf.select(cfg, source)
        if value is not None and value != shared:
            raise ConfigError(f"{key}={value}: must be {source}, which is {shared}; set {source}= alone")
    _check_epochs(cfg.epochs)
    _check_length(cfg)
    _check_stream(cfg)


def check_fields(cfg: DictConfig, schema: type, key: str = "") -> None:
    """Check values against the annotations of the schema.

    Args:
        cfg: the configuration, or a part of it; OmegaConf has checked its types.
        schema: its dataclass.
        key: its key.

    Raises:
        ConfigError: the message names the first value out of range.
    """
    for name, hint in typing.get_type_hints(schema, include_extras=True).items():
        inside = f"{key}.{name}".lstrip(".")
        kinds = (hint, *typing.get_args(hint))
        below = [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]
        if not below:
            hints.check(inside, cfg[name], hint)
        elif cfg[name] is not None:
            check_fields(cfg[name], below[0], inside)


def check_machine(cfg: DictConfig) -> None:
    """Refuse what this machine does not have, as far as that can be checked without torch.

    Raises:
        ConfigError: the message names the key.
        DataError: as `check`.
    """
    trainer_arguments.check(cfg.trainer)
    extras.check(cfg)
    if cfg.caps is None:
        measures.check_weights(cfg.evaluation, cfg.cache_dir)
    _check_folder("cache_dir", cfg.cache_dir)


def check_evaluation(cfg: DictConfig) -> None:
    """Refuse values of `cfg.evaluation` that are missing or out of range.

    Raises:
        ConfigError: the message names the key, its value and what is allowed.
    """
    _check_missing(cfg)
    check_interpolations(cfg)
    _check_measures(cfg)
    check_fields(cfg.evaluation, EvaluationConfig, "evaluation")


def _check_measures(cfg: DictConfig) -> None:
    for key in ("evaluation.metrics", "evaluation.spaces", "evaluation.classifiers"):
        slots.check_collection(cfg, key)
    measures.check(cfg.evaluation)


def _check_missing(cfg: DictConfig) -> None:
    """Refuse a configuration with a value that neither a file nor an override has set."""
    waiting: list[tuple[str, Any]] = [("", OmegaConf.to_container(cfg, resolve=False))]
    while waiting:
        key, value = waiting.pop()
        if value == MISSING:
            raise ConfigError(f"{key}: is missing; give it with {key}=...")
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}".lstrip("."), part) for name, part in value.items()]


def _check_epochs(epochs: Any) -> None:
    if epochs is not None and not hints.fits(epochs, Count32 | list[Count32]):
        raise ConfigError(f"epochs={epochs}: use {hints.wanted(Count32)}, a list with one per task, or null")


def check_interpolations(cfg: DictConfig) -> None:
    """Resolve every `${...}` and refuse those that lead nowhere.

    Raises:
        ConfigError: the message names the key of the interpolation.
    """
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None)
        said = str(error).splitlines()[0].removeprefix("KeyError raised while resolving interpolation: ")
        raise ConfigError(f"{key}: {said}" if key else said) from error


def _check_length(cfg: DictConfig) -> None:
    """Refuse a stream with more steps than a computer can take in its life."""
    longest = max(cfg.epochs, default=1) if isinstance(cfg.epochs, ListConfig) else cfg.epochs or 1
    steps = longest * (cfg.steps_per_epoch or 1)
    if steps > MOST_STEPS:
        raise ConfigError(
            f"epochs={longest}: {steps:.1g} steps for a task are more than {MOST_STEPS:.0g}; use fewer, "
            "or a smaller steps_per_epoch"
        )
    critic = OmegaConf.select(cfg, "objective.critic_steps")
    if isinstance(critic, int) and steps * critic > MOST_STEPS:
        raise ConfigError(
            f"objective.critic_steps={critic}: {steps * critic:.1g} discriminator steps for a task are more "
            f"than {MOST_STEPS:.0g}; use fewer"
        )


def _check_stream(cfg: DictConfig) -> None:
    """Refuse an invalid stream, as far as that can be checked without the data. If the number of classes is
    unknown, or `init_from` adds known classes, only the arguments of the stream kind are checked.
    """
    stream_kind(cfg)
    is_joined(cfg)
    if cfg.data.num_classes is not None and cfg.init_from is None:
        scenario(cfg, cfg.data.num_classes)


def is_file(path: str) -> bool:
    """Whether a file of that name exists; false for a name that no file can have."""
    try:
        return Path(path).expanduser().is_file()
    except (OSError, RuntimeError):  # a name that no file can have, a missing home folder
        return False


def _check_folder(key: str, folder: str) -> None:
    """Refuse a folder that cannot be made, as far as that can be checked without making it."""
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
