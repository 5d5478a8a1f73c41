"""The figures of metrics.json that a search can optimise, and which way is better."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig

from mergan import config
from mergan.config import hints, slots
from mergan.evaluation import continual
from mergan.evaluation.figures import PLAIN
from mergan.system.errors import ConfigError

# those that belong to no metric of evaluation.metrics; true: higher is better
ALWAYS = {
    "train_seconds": False,
    "evaluation_seconds": False,
    "images_per_second": True,
}
SUFFIXES = (continual.FIRST, continual.LEARNED, continual.STREAM, continual.TRANSFER, "_forgetting")
REVERSE = "reverse_accuracy"


def at_the_end(cfg: DictConfig) -> dict[str, bool]:
    """The figures that a run may end with: whether higher is better, by name."""
    found = {REVERSE: True} if cfg.evaluation.reverse_per_class > 0 else {}
    for name, higher in after_a_task(cfg).items():
        found |= {name: higher, continual.forgetting_name(name): False, f"{name}{continual.TRANSFER}": True}
        found |= {f"{name}{end}": higher for end in (continual.FIRST, continual.LEARNED, continual.STREAM)}
    return found | ALWAYS


def after_a_task(cfg: DictConfig) -> dict[str, bool]:
    """The figures that are measured after every task."""
    return {"accuracy": True} | _metrics(cfg)


def _metrics(cfg: DictConfig) -> dict[str, bool]:
    """The metrics in all feature spaces that the evaluation may use."""
    features = cfg.evaluation.features
    defaults, channels = cfg.evaluation.features_default, cfg.data.channels
    if features is not None:
        lists = [features]
    elif channels is not None:
        lists = [defaults["grey" if channels == 1 else "colour"]]
    else:  # decided by the images
        lists = list(defaults.values())
    spaces = dict.fromkeys(name for chosen in lists for name in config.feature_names(chosen))
    found = {}
    for name, node in cfg.evaluation.metrics.items():
        if node is None:
            continue
        kind = slots.locate(f"evaluation.metrics.{name}._target_", node._target_)
        higher = bool(getattr(kind, "higher_is_better", True)) if inspect.isclass(kind) else True
        for space in spaces:
            found[str(name) if space == PLAIN else f"{name}_{space}"] = higher
    return found


def chosen(key: str, value: Any, known: Mapping[str, bool]) -> dict[str, bool]:
    """The figures that a key names, and whether higher is better.

    Args:
        key: the key, for messages.
        value: a name or a list of names.
        known: the figures that there are.

    Raises:
        ConfigError: it names none, one twice, or one that is not measured.
    """
    names = [value] if isinstance(value, str) else list(value) if hints.fits(value, list[str]) else []
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{key}={hints.shown(value)}: use the name of a figure, or a list of several")
    for name in names:
        if name not in known:
            raise ConfigError(f"{key}={name}: is not measured here; use {_listed(known)}")
    return {name: known[name] for name in names}


def _listed(names: Collection[str]) -> str:
    """The names for a message; those of the same metric after its name."""
    short = [name for name in sorted(names) if not name.endswith(SUFFIXES)]
    *others, last = short
    words = f"{', '.join(others)} or {last}" if others else last
    return (
        words if len(short) == len(names) else f"{words}, or one of the metrics with {' or '.join(SUFFIXES)}"
    )
