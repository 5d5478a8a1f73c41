"""The slots of the configuration: parts of a run that a `_target_` names, and their types (no torch)."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan.system.errors import ConfigError, reason

# by key of a part or a collection of parts: the base class of each part, and an example for the message
PARTS = {
    "scenario": (
        "mergan.scenarios.base.StreamKind",
        "mergan.scenarios.class_incremental.ClassIncremental",
    ),
    "learner": ("mergan.learners.ContinualLearner", "mergan.learners.acgan.ACGAN"),
    "strategy": ("mergan.strategies.Strategy", "mergan.strategies.joint_retrain.JointRetrain"),
    "objective": ("mergan.learners.objectives.Objective", "mergan.learners.objectives.NonSaturating"),
    "augmentation": ("mergan.learners.augmentation.Augmentation", "mergan.learners.augmentation.DiffAugment"),
    "network.generator": ("torch.nn.Module", "mergan.networks.dcgan.Generator"),
    "network.discriminator": ("torch.nn.Module", "mergan.networks.dcgan.Discriminator"),
    "data.source": ("mergan.data.source.Source", "mergan.data.image_folder.ImageFolder"),
    "trainer": ("lightning.pytorch.Trainer", "lightning.pytorch.Trainer"),
}
COLLECTIONS = {
    "callbacks": ("lightning.pytorch.Callback", "mergan.callbacks.samples.SampleGrid"),
    "logger": ("lightning.pytorch.loggers.Logger", "mergan.output.loggers.CSVLog"),
    "evaluation.metrics": (
        "mergan.evaluation.metrics.Metric",
        "mergan.evaluation.metrics.diversity.Diversity",
    ),
    "evaluation.spaces": (
        "mergan.evaluation.features.FeatureSpace",
        "mergan.evaluation.features.pixels.Pixels",
    ),
    "evaluation.classifiers": (
        "mergan.evaluation.classifiers.Classifier",
        "mergan.evaluation.classifiers.plain.Plain",
    ),
}


def check(cfg: DictConfig) -> None:
    """Refuse invalid parts: null, a number, a part without a target, or a target of Python itself.

    Raises:
        ConfigError: the message names the key and what is expected there.
    """
    network: Any = OmegaConf.select(cfg, "network")
    if not isinstance(network, DictConfig):
        raise ConfigError(f"network={_shown(network)}: use a mapping with a generator and a discriminator")
    for key in PARTS:
        _check_part(cfg, key)
    for key in ("callbacks", "logger"):
        check_collection(cfg, key)


def check_collection(cfg: DictConfig, key: str) -> None:
    """The same check for each part of a collection, where null leaves a part out.

    Args:
        cfg: the configuration.
        key: callbacks, logger, or one of those of evaluation.

    Raises:
        ConfigError: see `check`.
    """
    parts: Any = OmegaConf.select(cfg, key)
    if not isinstance(parts, DictConfig):
        raise ConfigError(f"{key}={_shown(parts)}: use a mapping of parts; {key}.NAME=null leaves one out")
    for name in map(str, parts):
        if parts[name] is not None:
            _check_part(cfg, f"{key}.{name}")


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def parts_of(cfg: DictConfig) -> Iterator[DictConfig]:
    """The nodes of all parts of a configuration that `check` has passed, except the stream:
    `mergan.config.check` has already built it.
    """
    for key in PARTS:
        if key != "scenario":
            yield OmegaConf.select(cfg, key)
    for key in COLLECTIONS:
        yield from (node for node in OmegaConf.select(cfg, key).values() if node is not None)


def _check_part(cfg: DictConfig, key: str) -> None:
    node: Any = OmegaConf.select(cfg, key)
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{key}={_shown(node)}: use a mapping with a _target_, {_wanted(key)}")
    target: Any = node.get("_target_")
    if target is None:
        raise ConfigError(f"{key}._target_: is missing; use {_wanted(key)}")
    if not isinstance(target, str):
        raise ConfigError(f"{key}._target_={target}: use the dotted name of a class, {_wanted(key)}")
    root = target.partition(".")[0]
    if root in sys.stdlib_module_names:
        raise ConfigError(f"{key}._target_={target}: this is none; use {_wanted(key)}")
    if not _there(root):
        raise ConfigError(
            f"{key}._target_={target}: there is no module {root!r}; is its folder in PYTHONPATH?"
        )


def _there(root: str) -> bool:
    """Whether a top-level module exists; nothing is imported."""
    if root in sys.modules:
        return True
    try:
        return bool(root) and importlib.util.find_spec(root) is not None
    except (ImportError, ValueError):
        return False


def _kind(key: str) -> tuple[str, str] | None:
    """Base class and example of the part at a key; None for a key that is not a slot."""
    return PARTS.get(key) or COLLECTIONS.get(key.rpartition(".")[0])


def _wanted(key: str) -> str:
    kind = _kind(key)
    assert kind is not None
    base, example = kind
    name = base.rpartition(".")[2]
    return f"{'an' if name[0] in 'AEIO' else 'a'} {name}, as {example}"


def check_kind(key: str, target: Any, name: str) -> None:
    """Check a target against the base class of its slot before calling it.

    Args:
        key: its key; keys that are not slots pass.
        target: the class or function that `_target_` names.
        name: the name.

    Raises:
        ConfigError: it is neither a subclass nor a function that may return an instance.
    """
    kind = _kind(key)
    if kind is None:
        return
    if not callable(target):
        raise ConfigError(f"{key}._target_={name}: is neither a class nor a function; use {_wanted(key)}")
    made = target if inspect.isclass(target) else _returned(target)
    if inspect.isclass(made) and not issubclass(made, _base(kind[0])):
        raise ConfigError(f"{key}._target_={name}: this is none; use {_wanted(key)}")


def check_made(key: str, made: Any) -> None:
    """Check the result of a function without a return annotation against the base class of its slot.

    Raises:
        ConfigError: it is of another kind.
    """
    kind = _kind(key)
    if kind is not None and not isinstance(made, _base(kind[0])):
        raise ConfigError(f"{key}: {type(made).__name__} is none; use {_wanted(key)}")


def _returned(function: Any) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except Exception:  # unresolvable annotations say nothing
        return None


def _base(name: str) -> type:
    module, _, attribute = name.rpartition(".")
    base = getattr(importlib.import_module(module), attribute)
    assert isinstance(base, type)
    return base


def locate(key: str, name: str) -> Any:
    """The object that a dotted name refers to; its module is imported.

    Raises:
        ConfigError: the message names the key and what is missing.
    """
    words = name.split(".")
    if not all(word.isidentifier() for word in words):
        raise ConfigError(f"{key}={name}: is no dotted name of a class")
    found: Any = None
    module = ""
    for position, word in enumerate(words):
        if found is not None and hasattr(found, word):
            found = getattr(found, word)
            continue
        module = ".".join(words[: position + 1])
        if found is not None and not inspect.ismodule(found):
            raise ConfigError(f"{key}={name}: {'.'.join(words[:position])} has no {word!r}")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise ConfigError(f"{key}={name}: {module} needs the module {error.name!r}") from error
            if found is not None:
                raise ConfigError(f"{key}={name}: {'.'.join(words[:position])} has no {word!r}") from error
            raise ConfigError(
                f"{key}={name}: there is no module {word!r}; is its folder in PYTHONPATH?"
            ) from error
        except Exception as error:
            raise ConfigError(f"{key}={name}: {module} cannot be imported ({reason(error)})") from error
    return found
