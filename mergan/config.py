"""Schema of the configuration and the checks that need no torch, so that a typo is refused at once."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mergan import slots, trainer_arguments
from mergan.errors import ConfigError
from mergan.evaluation.inception import find_weights
from mergan.scenario import Scenario, split_classes

CONF = Path(__file__).resolve().parent.parent / "conf"
SEED_RANGE = "a whole number from 0 to 2147483647"
MOST = 2**31 - 1  # of anything that is counted
COUNT = "a whole number of 1 or more, below 2^31"
MOST_STEPS = 1e9  # of a task: months at a hundred steps in a second
MOST_LISTED = 10**8  # tasks times classes; every task lists the classes before it
SMOKE_CLASSES = 10  # of the generated images, where the configured data set finds out its own number late

# how a command starts, goes on or finds its caches: never taken from a run that it goes on with
OF_COMMAND = ("cache_dir", "ckpt_path", "init_from", "resume", "allow_changes", "trust")

# what may differ between a run and its continuation without changing what is learned
HARMLESS = (*OF_COMMAND, "trainer", "logger", "callbacks", "data.root", "data.download", "data.source.root",
            "data.source.download", "evaluation.inception_weights", "recovery")  # fmt: skip
NOT_HARMLESS = ("trainer.precision",)  # although the rest of its group is

# values that name files and folders
PATHS = ("cache_dir", "data.root", "data.source.root", "ckpt_path", "init_from",
         "evaluation.inception_weights", "checkpoint", "out", "root")  # fmt: skip

# a value that is that of another key and nothing more
REFERENCE = re.compile(r"\$\{([^\W\d]\w*(?:\.\w+)*)\}")


class Features(Enum):
    """What the metrics compare: the judge's penultimate features, or Inception-v3's."""

    judge = "judge"
    inception = "inception"


class Split(Enum):
    """Which real images the measures use: a part split off the training data, or the test data."""

    val = "val"
    test = "test"


class Resume(Enum):
    """What a run folder that holds a run already means to the command that names it."""

    never = "never"  # the command is refused
    auto = "auto"  # it goes on with that run, or answers that it is finished


@dataclass
class ScenarioConfig:
    """The stream of tasks, see mergan.scenario."""

    classes_per_task: int | None = None
    tasks: list[list[int]] | None = None
    class_order: Any = "fixed"  # fixed, shuffled or a list of classes
    order_seed: int = 0
    joined: bool = False


@dataclass
class DataConfig:
    """A data set, see mergan.data."""

    source: Any = MISSING
    root: str = "data"
    download: bool = True
    image_size: int = 32
    channels: int = 1
    num_classes: int | None = None
    val_fraction: float = 0.1


@dataclass
class EvaluationConfig:
    """What is measured, see mergan.evaluation."""

    split: Split = Split.test
    samples_per_class: int = 100
    references_per_class: int = 900
    k: int = 5
    features: Features = Features.judge
    inception_weights: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    reverse_per_class: int = 400
    reverse_steps: int = 600
    classifier_steps: int = 1500
    seed: int = 0


@dataclass
class RecoveryConfig:
    """What happens when a loss or a gradient is no longer finite: so often the run goes back to its last
    checkpoint with lower learning rates, and then it ends.
    """

    attempts: int = 0
    lr_factor: float = 0.5  # on both learning rates, with each attempt
    used: int = 0  # attempts that the run has behind it; written by the run


@dataclass
class CapsConfig:
    """Upper limits that hold whatever the rest of the configuration says (debug=smoke)."""

    tasks: int = MISSING
    epochs_per_task: int = MISSING
    steps_per_epoch: int = MISSING
    batch_size: int = MISSING
    buffer_per_class: int = MISSING
    samples_per_class: int = MISSING
    classifier_steps: int = MISSING
    data: Any = MISSING  # the data set that replaces the configured one


@dataclass
class TrainConfig:
    """The top level of conf/train.yaml."""

    epochs: Any = MISSING  # an int, or a list with one entry per task (OmegaConf has no such union)
    batch_size: int = MISSING
    embedding_dim: int = MISSING
    lr: float = MISSING
    lr_d: float | None = None
    steps_per_epoch: int | None = None
    seed: int = 0
    cache_dir: str = "cache"
    ckpt_path: str | None = None
    init_from: str | None = None
    resume: Resume = Resume.never
    allow_changes: bool = False
    trust: list[Any] = field(default_factory=list)
    scenario: ScenarioConfig = field(default_factory=ScenarioConfig)
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    caps: CapsConfig | None = None
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    strategy: Any = MISSING
    network: Any = MISSING
    objective: Any = MISSING
    acgan: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    callbacks: Any = MISSING


@dataclass
class SampleConfig:
    """The top level of conf/sample.yaml."""

    checkpoint: str = MISSING
    per_class: int = 100
    out: str = "samples.npz"
    overwrite: bool = False
    classes: list[int] | None = None
    seed: int = 0
    trust: list[Any] = field(default_factory=list)


@dataclass
class EvaluateConfig:
    """The top level of conf/evaluate.yaml."""

    checkpoint: str = MISSING
    out: str | None = None
    overwrite: bool = False
    cache_dir: str = "cache"
    root: str | None = None
    allow_changes: bool = False
    trust: list[Any] = field(default_factory=list)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def register() -> None:
    """Make the schemas known to Hydra under the names that the files of conf/ build on."""
    store = ConfigStore.instance()
    store.store(name="schema", node=TrainConfig)
    store.store(name="sample_schema", node=SampleConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)


def check(cfg: DictConfig) -> None:
    """Refuse values out of range; types and names have been checked against the schema before.

    Raises:
        ConfigError: naming the key, its value and what is allowed.
        DataError: the weights that evaluation.features=inception needs are missing.
    """
    check_evaluation(cfg)
    slots.check(cfg)
    for key in ("batch_size", "embedding_dim"):
        _require(cfg, key, _countable, COUNT)
    if cfg.evaluation.features is Features.inception and cfg.caps is None:
        find_weights(cfg.evaluation.inception_weights, cfg.cache_dir)
    for key in ("steps_per_epoch", "scenario.classes_per_task", "data.num_classes"):
        _require(cfg, key, lambda value: value is None or _countable(value), f"{COUNT}, or null")
    for key in ("lr", "lr_d"):
        _require(cfg, key, lambda value: value is None or 0 < value < math.inf, "a number above 0")
    for key in ("seed", "scenario.order_seed"):
        _require(cfg, key, lambda value: 0 <= value < 2**31, SEED_RANGE)
    for key in ("recovery.attempts", "recovery.used"):
        _require(cfg, key, lambda value: value >= 0, "a whole number of 0 or more")
    _require(cfg, "recovery.lr_factor", lambda value: 0 < value < 1, "a number between 0 and 1")
    _require(cfg, "data.val_fraction", lambda value: 0 < value < 1, "a number between 0 and 1")
    _require(cfg, "data.image_size", lambda value: value in (16, 32, 64), "16, 32 or 64")
    _require(cfg, "data.channels", lambda value: value in (1, 3), "1 (grey) or 3 (colour)")
    trainer_arguments.check(cfg.trainer)
    _check_epochs(cfg.epochs)
    if cfg.ckpt_path is not None and cfg.init_from is not None:
        raise ConfigError("ckpt_path resumes a run and init_from starts a new one: give one of them")
    for key in ("ckpt_path", "init_from"):
        path = cfg[key]
        if path is not None and not is_file(path):
            raise ConfigError(f"{key}={path}: there is no such file")
    _check_folder("cache_dir", cfg.cache_dir)
    _check_length(cfg)
    if cfg.data.num_classes is not None and cfg.init_from is None:
        scenario(cfg, cfg.data.num_classes)


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
    """Refuse a stream of more steps than a computer makes in its life, before tasks are listed one by one."""
    classes = cfg.data.num_classes or 0
    tasks = 1 if cfg.scenario.joined else -(-classes // (cfg.scenario.classes_per_task or classes or 1))
    if tasks * classes > MOST_LISTED:
        raise ConfigError(f"data.num_classes={classes}: {tasks} tasks of so many classes are too many")
    longest = max(cfg.epochs, default=1) if isinstance(cfg.epochs, ListConfig) else cfg.epochs
    steps = longest * (cfg.steps_per_epoch or 1)
    if steps > MOST_STEPS:
        raise ConfigError(
            f"epochs={longest}: {steps:.1g} steps for a task are more than {MOST_STEPS:.0g}; use fewer, "
            "or a smaller steps_per_epoch"
        )


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


def scenario(cfg: DictConfig, num_classes: int, known: tuple[int, ...] = ()) -> Scenario:
    """The stream that the configuration describes, for a data set of `num_classes` classes.

    Args:
        cfg: the configuration.
        num_classes: classes of the data set.
        known: classes that the networks already know (init_from).

    Raises:
        ConfigError: see mergan.scenario.
    """
    node = cfg.scenario
    order = node.class_order
    tasks = split_classes(
        num_classes,
        node.classes_per_task,
        OmegaConf.to_container(node.tasks) if node.tasks is not None else None,  # type: ignore[arg-type]
        list(order) if isinstance(order, ListConfig) else str(order),
        node.order_seed,
        known,
    )
    epochs = list(cfg.epochs) if isinstance(cfg.epochs, ListConfig) else cfg.epochs
    stream = Scenario.from_classes(tasks, epochs, known, node.joined)
    if cfg.caps is None:
        return stream
    durations = [min(cfg.caps.epochs_per_task, task.epochs) for task in stream.tasks][: cfg.caps.tasks]
    return Scenario.from_classes(tasks[: cfg.caps.tasks], durations, known, node.joined)


def apply_caps(cfg: DictConfig) -> DictConfig:
    """A copy of the configuration within its `caps` (debug=smoke), if it has any.

    The tasks are capped when the scenario is built. The data set is replaced by generated images of
    the same size, channels and number of classes.
    """
    caps = cfg.caps
    if caps is None:
        return cfg
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    steps = cfg.steps_per_epoch
    cfg.steps_per_epoch = min(caps.steps_per_epoch, steps) if steps else caps.steps_per_epoch
    cfg.batch_size = min(caps.batch_size, cfg.batch_size)
    evaluation = cfg.evaluation
    evaluation.samples_per_class = min(caps.samples_per_class, evaluation.samples_per_class)
    evaluation.features = Features.judge  # Inception is no matter of seconds, and its weights are a download
    evaluation.reverse_per_class = min(caps.samples_per_class, evaluation.reverse_per_class)
    evaluation.reverse_steps = min(caps.classifier_steps, evaluation.reverse_steps)
    evaluation.classifier_steps = min(caps.classifier_steps, evaluation.classifier_steps)
    for key in ("buffer_per_class", "max_per_class"):
        if key in cfg.strategy:
            cfg.strategy[key] = min(caps.buffer_per_class, cfg.strategy[key] or caps.buffer_per_class)
    cfg.data.num_classes = cfg.data.num_classes or SMOKE_CLASSES
    cfg.data.source = caps.data
    return cfg


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the keys in which two plain configurations differ."""
    found: list[str] = []
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}")
    return found


def harmless(key: str) -> bool:
    """Whether a setting may differ between a run and its continuation without changing what is learned."""
    return any(below(key, part) for part in HARMLESS) and key not in NOT_HARMLESS


def below(key: str, part: str) -> bool:
    """Whether one of two dotted keys is the other or lies below it; "" stands for the whole."""
    return part == "" or key == part or key.startswith(f"{part}.") or part.startswith(f"{key}.")


def absolute_paths(cfg: DictConfig) -> DictConfig:
    """A copy of the configuration whose files and folders are named from the root, with `~` resolved, so that
    they mean the same in another working directory. Values that are those of other keys follow these.
    """
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    for key in PATHS:
        if OmegaConf.is_missing(cfg, key):
            continue
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(cfg, parent) if parent else cfg
        if not isinstance(node, DictConfig) or name not in node or OmegaConf.is_interpolation(node, name):
            continue
        if isinstance(node[name], str):
            node[name] = _absolute(key, node[name])
    return cfg


def _absolute(key: str, path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError as error:
        raise ConfigError(f"{key}={path}: there is no such home folder; write the path out") from error


def links(cfg: DictConfig) -> dict[str, str]:
    """How values of a configuration depend on others: the text of every interpolation, by key.

    That of a value which is another key's, e.g. `acgan.lr`, names it from the top: `${lr}`.
    """
    found: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("", OmegaConf.to_container(cfg, resolve=False, enum_to_str=True))]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}".lstrip("."), part) for name, part in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{key}.{index}", part) for index, part in enumerate(value)]
        elif isinstance(value, str) and "${" in value:
            found[key] = _from_top(value, key)
    return found


def _from_top(text: str, key: str) -> str:
    """`${.name}` and `${..name}` in the value of a key as seen from the top of the configuration."""

    def resolved(match: re.Match[str]) -> str:
        above = key.split(".")[: -len(match[1])]
        return "${" + ".".join([*above, match[2]])

    return re.sub(r"\$\{(\.+)(\w)", resolved, text)
