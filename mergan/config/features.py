"""Which feature spaces the metrics use (no torch)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig

from mergan.config import hints
from mergan.config.inception_weights import find_weights
from mergan.config.schema import EvaluationConfig
from mergan.system.errors import ConfigError

DOWNLOADED = "mergan.evaluation.features.inception.Inception"  # the space whose weights must be fetched
JUDGE = "judge"  # the space whose figures have no suffix


def names(features: str | Iterable[str]) -> list[str]:
    """The names in `evaluation.features`; a word is a list of one."""
    return [features] if isinstance(features, str) else [str(name) for name in features]


def check(evaluation: DictConfig) -> None:
    """Refuse names that `evaluation.spaces` lacks, in `features` and in `features_default`.

    Raises:
        ConfigError: the message names the key and the spaces that there are.
    """
    lists = {f"features_default.{kind}": value for kind, value in evaluation.features_default.items()}
    if evaluation.features is not None:
        lists["features"] = evaluation.features
    there = [str(name) for name, node in evaluation.spaces.items() if node is not None]
    for key, value in lists.items():
        wanted = f"use a list of feature spaces: {', '.join(there)}"
        if not hints.fits(value, str | list[str]) or len(set(names(value))) < len(names(value)):
            raise ConfigError(f"evaluation.{key}={hints.shown(value)}: {wanted}, each once")
        for name in names(value):
            if name not in there:
                raise ConfigError(f"evaluation.{key}={hints.shown(value)}: there is no {name}; {wanted}")


def resolved(evaluation: EvaluationConfig, channels: int) -> EvaluationConfig:
    """The same with `features` as a list.

    Args:
        evaluation: a checked one; `features` null takes the list of `features_default`.
        channels: of the images, 1 or 3.
    """
    chosen = evaluation.features
    if chosen is None:
        chosen = evaluation.features_default["grey" if channels == 1 else "colour"]
    return replace(evaluation, features=names(chosen))


def check_weights(evaluation: DictConfig, cache_dir: str) -> None:
    """Look for the weights of the spaces that need them.

    Raises:
        DataError: they are missing; the message says where to get them.
    """
    for name in names(evaluation.features or []):
        if _is_downloaded(evaluation.spaces[name]):
            find_weights(evaluation.spaces[name].get("weights"), cache_dir)


def without_weights(evaluation: DictConfig) -> list[str] | None:
    """`features` without the spaces that need weights, the judge's if nothing is left; None stays None."""
    if evaluation.features is None:
        return None
    left = [name for name in names(evaluation.features) if not _is_downloaded(evaluation.spaces[name])]
    return left or [JUDGE]


def _is_downloaded(node: Mapping[str, Any]) -> bool:
    return node.get("_target_") == DOWNLOADED
