"""Settings that are null and chosen from the data: found once per run, then plain values like all others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.checkpoints import file as checkpoint
from mergan.checkpoints import trust
from mergan.checkpoints.contents import KEY
from mergan.config.instantiate import instantiate
from mergan.data.source import Choice, Source
from mergan.run.recipe import RULES
from mergan.system import said
from mergan.system.errors import ConfigError

log = logging.getLogger(__name__)


class Facts:
    """What the rules may ask about the data; each fact is looked up when a rule first asks for it.

    Args:
        cfg: the configuration; settings whose rules come earlier have their values.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self._cfg = cfg

    @cached_property
    def source(self) -> Source:
        """The data set. It is built in colour while the number of channels is not known."""
        node: Any = OmegaConf.to_container(self._cfg.data.source, resolve=True)
        if node.get("channels", 0) is None:
            node["channels"] = 3
        made: Source = instantiate(node, "data.source")
        return made

    @property
    def channels(self) -> int:
        """1 grey, 3 colour."""
        return int(self._cfg.data.channels)

    @property
    def kind(self) -> str:
        """The kind of images: "grey" or "colour"."""
        return "grey" if self.channels == 1 else "colour"

    def of_kind(self, key: str) -> Any:
        """The value of a setting that has one for grey and one for colour images."""
        values: Any = OmegaConf.to_container(OmegaConf.select(self._cfg, key), resolve=True)
        return values[self.kind]

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return int(self._cfg.data.image_size)

    @cached_property
    def images_per_class(self) -> float:
        """Mean number of training images of a class."""
        counts = self.source.training_counts()
        return sum(counts) / len(counts)

    @property
    def num_classes(self) -> int:
        """Number of classes of the data."""
        return len(self.source.class_names)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; a pass over the images of a class, if epochs are passes."""
        steps = self._cfg.steps_per_epoch
        return int(steps) if steps else max(1, round(self.images_per_class / self._cfg.batch_size))

    @property
    def num_tasks(self) -> int | None:
        """Number of tasks; None if all are joined, or if the networks know classes already (init_from)."""
        if config.is_joined(self._cfg) or self._cfg.init_from is not None:
            return None
        whole = self._cfg.copy()
        whole.caps = None  # `epochs` has an entry for every task, also for those that debug=smoke leaves out
        return len(config.scenario(whole, self.source.class_names).tasks)


Rule = Callable[[Facts], Choice | None]

# By key, in the order in which the values are chosen: a rule may use the facts that earlier rules decide. A
# rule that gives None leaves its key to the user. A key that a configuration lacks, or has a value for, is
# passed over. The rules of mergan.run.recipe follow.
OF_THE_DATA: dict[str, Rule] = {
    "data.channels": lambda facts: facts.source.suited_channels(),
    "data.image_size": lambda facts: facts.source.suited_size(),
}

# By key, likewise; a rule gives the value itself. All of them are said in one line.
RECIPE: dict[str, Callable[[Facts], Any]] = {
    **RULES,
    "evaluation.features": lambda facts: facts.of_kind("evaluation.features_default"),
    "evaluation.classifier": lambda facts: facts.of_kind("evaluation.classifier_default"),
}

KEYS = (*OF_THE_DATA, *RECIPE)  # all settings that may be null until the data is known


def filled(cfg: DictConfig) -> DictConfig:
    """The configuration with a value for every null that a rule decides; values that refer to it follow.

    Every choice is logged in a line that names the key. Networks that start from a checkpoint (`init_from`)
    keep its values.

    Args:
        cfg: a configuration that `mergan.config.check` has passed. It is not changed.

    Raises:
        CheckpointError: the checkpoint of `init_from` cannot be read or is not trusted.
        ConfigError: the data does not decide a value.
        DataError: the data is missing or cannot be read.
    """
    cfg = cfg.copy()
    facts = Facts(cfg)
    for key, rule in OF_THE_DATA.items():
        if not _is_open(cfg, key):
            continue
        choice = rule(facts)
        if choice is None:
            raise ConfigError(f"{key}=null: {facts.source.name} does not decide it; give {key}=...")
        OmegaConf.update(cfg, key, choice.value)
        _say(f"{key}={choice.value} is chosen: {choice.why}; {key}=... sets it")
    inherited = _of_the_networks(cfg)
    for key, value in inherited.items():
        OmegaConf.update(cfg, key, value)
    if inherited:
        _say(f"as in init_from={cfg.init_from}: {_listed(inherited)}")
    recipe = {key: rule(facts) for key, rule in RECIPE.items() if _is_open(cfg, key)}
    for key, value in recipe.items():
        OmegaConf.update(cfg, key, value)
    if recipe:
        _say(
            f"recipe for {facts.kind} images of {facts.image_size} pixels: {_listed(recipe)}; "
            "KEY=... sets each"
        )
    return cfg


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}".replace(" ", "") for key, value in values.items())


def _of_the_networks(cfg: DictConfig) -> dict[str, Any]:
    """The values that the networks of `init_from` were built with, for keys that the command leaves open."""
    keys = [key for key in RECIPE if key.startswith("network.") and _is_open(cfg, key)]
    if cfg.init_from is None or not keys:
        return {}
    path = Path(cfg.init_from)
    saved = checkpoint.read(path)[KEY]["config"]
    trust.of_this_command(cfg).check(saved, f"checkpoint {path}")
    return _chosen_before(cfg, saved, keys)


def kept(cfg: DictConfig, saved: Mapping[str, Any]) -> DictConfig:
    """The configuration with the values that a run has chosen before, in place of nulls.

    Args:
        cfg: the configuration of a command. It is not changed.
        saved: the configuration of the run, as plain values.
    """
    cfg = cfg.copy()
    for key, value in _chosen_before(cfg, saved, KEYS).items():
        OmegaConf.update(cfg, key, value)
    return cfg


def _chosen_before(cfg: DictConfig, saved: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The values that a run has at those of the keys that a command leaves open."""
    before = OmegaConf.create(dict(saved))
    values = {key: OmegaConf.select(before, key) for key in keys if _is_open(cfg, key)}
    return {key: value for key, value in values.items() if value is not None}


def _is_open(cfg: DictConfig, key: str) -> bool:
    """Whether a configuration has null itself at a key, not a reference to another key."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    if not isinstance(node, DictConfig) or name not in node or OmegaConf.is_interpolation(node, name):
        return False
    return not OmegaConf.is_missing(node, name) and node[name] is None


@rank_zero_only
def _say(line: str) -> None:
    said.say(log, line)
