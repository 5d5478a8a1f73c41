"""Which feature spaces and which classifier the evaluation uses (no torch)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig

from mergan.config import hints
from mergan.config.inception_weights import find_weights
from mergan.system.errors import ConfigError

DOWNLOADED = "mergan.evaluation.features.inception.Inception"  # the space whose weights must be fetched
JUDGE = "judge"  # the space whose figures have no suffix


def feature_names(features: str | Iterable[str]) -> list[str]:
    """The names in `evaluation.features`; a word is a list of one."""
    return [features] if isinstance(features, str) else [str(name) for name in features]


def check(evaluation: DictConfig) -> None:
    """Refuse names of feature spaces that `evaluation.spaces` lacks, and of classifiers likewise.

    Raises:
        ConfigError: the message names the key and the spaces that there are.
    """
    lists = {f"features_default.{kind}": value for kind, value in evaluation.features_default.items()}
    if evaluation.features is not None:
        lists["features"] = evaluation.features
    there = [str(name) for name, node in evaluation.spaces.items() if node is not None]
    for key, value in lists.items():
        wanted = f"use a list of feature spaces: {', '.join(there)}"
        found = feature_names(value) if hints.fits(value, str | list[str]) else None
        if found is None or len(set(found)) < len(found):
            raise ConfigError(f"evaluation.{key}={hints.shown(value)}: {wanted}, each once")
        for name in found:
            if name not in there:
                raise ConfigError(f"evaluation.{key}={hints.shown(value)}: there is no {name}; {wanted}")
    _check_classifier(evaluation)


def _check_classifier(evaluation: DictConfig) -> None:
    chosen = {f"classifier_default.{kind}": name for kind, name in evaluation.classifier_default.items()}
    if evaluation.classifier is not None:
        chosen["classifier"] = evaluation.classifier
    there = [str(name) for name, node in evaluation.classifiers.items() if node is not None]
    for key, name in chosen.items():
        if name not in there:
            raise ConfigError(f"evaluation.{key}={hints.shown(name)}: use one of {', '.join(there)}")


def check_weights(evaluation: DictConfig, cache_dir: str) -> None:
    """Look for the weights of the spaces that need them.

    Raises:
        DataError: they are missing; the message says where to get them.
    """
    for name in feature_names(evaluation.features or []):
        if _is_downloaded(evaluation.spaces[name]):
            find_weights(evaluation.spaces[name].get("weights"), cache_dir)


def without_weights(evaluation: DictConfig) -> list[str] | None:
    """`features` without the spaces that need weights, the judge's if nothing is left; None stays None."""
    if evaluation.features is None:
        return None
    chosen = feature_names(evaluation.features)
    left = [name for name in chosen if not _is_downloaded(evaluation.spaces[name])]
    return left or [JUDGE]


def _is_downloaded(node: Mapping[str, Any]) -> bool:
    return node.get("_target_") == DOWNLOADED
