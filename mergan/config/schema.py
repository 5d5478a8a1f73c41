"""Schema of the configuration: the names, types and ranges of its keys. conf/ holds the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from mergan.config.ranges import (
    Channels,
    Count,
    Count32,
    Fraction,
    ImageSize,
    Positive,
    Steps,
    Whole,
    Whole32,
)
from mergan.config.search_settings import SearchConfig


class Split(Enum):
    """Which real images the evaluation uses: a part split off the training data, or the test data."""

    val = "val"
    test = "test"


class Images(Enum):
    """Whose images `mergan evaluate` measures."""

    generated = "generated"
    real = "real"


class Resume(Enum):
    """What a command does if its run folder already holds a run."""

    never = "never"  # the command is refused
    auto = "auto"  # it resumes that run, or reports that the run is finished


@dataclass
class DataConfig:
    """A data set, see mergan.data."""

    source: Any = MISSING
    root: str = MISSING
    download: bool = MISSING
    image_size: Annotated[int, ImageSize] | None = MISSING  # null: chosen, see mergan.run.automatic
    channels: Annotated[int, Channels] | None = MISSING  # likewise
    num_classes: Count32 | None = MISSING
    val_fraction: Fraction = MISSING
    balance: bool = MISSING


@dataclass
class EvaluationConfig:
    """What is measured, see mergan.evaluation."""

    split: Split = MISSING
    samples_per_class: Count32 = MISSING
    references_per_class: Count32 = MISSING
    k: Count32 = MISSING
    features: Any = MISSING  # names of spaces, see mergan.config.measures
    features_default: dict[str, Any] = MISSING
    spaces: dict[str, Any] = MISSING
    classifier: str | None = MISSING
    classifier_default: dict[str, Any] = MISSING
    classifiers: dict[str, Any] = MISSING
    inception_weights: str | None = MISSING
    metrics: dict[str, Any] = MISSING
    reverse_per_class: Whole32 = MISSING
    reverse_steps: Count32 = MISSING
    classifier_steps: Count32 = MISSING
    seed: Whole32 = MISSING


@dataclass
class RecoveryConfig:
    """What happens when a loss or a gradient is not finite: the run goes back to its last checkpoint with
    lower learning rates, at most `attempts` times, and then ends.
    """

    attempts: Whole = MISSING
    lr_factor: Fraction = MISSING  # both learning rates are multiplied by it in each attempt
    used: Whole = MISSING  # attempts so far; written by the run


@dataclass
class CapsConfig:
    """Upper limits that override the rest of the configuration (debug=smoke)."""

    tasks: Count = MISSING
    epochs_per_task: Count = MISSING
    steps_per_epoch: Count = MISSING
    batch_size: Count = MISSING
    buffer_per_class: Count = MISSING
    width: Count = MISSING  # of the networks; not with init_from, whose weights have their widths
    samples_per_class: Count = MISSING
    classifier_steps: Count = MISSING
    data: Any = MISSING  # the data set that replaces the configured one


@dataclass
class TrainConfig:
    """The top level of conf/train.yaml."""

    epochs: Any = MISSING  # an int, or a list with one entry per task (OmegaConf has no such union)
    batch_size: Count32 = MISSING
    embedding_dim: Count32 = MISSING
    lr: Positive = MISSING
    lr_d: Positive | None = MISSING
    steps_per_epoch: Count32 | None = MISSING
    seed: Whole32 = MISSING
    cache_dir: str = MISSING
    ckpt_path: str | None = MISSING
    init_from: str | None = MISSING
    resume: Resume = MISSING
    allow_changes: bool = MISSING
    trust: list[Any] = MISSING
    scenario: Any = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    caps: CapsConfig | None = None  # set only by conf/debug/
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    strategy: Any = MISSING
    network: Any = MISSING
    objective: Any = MISSING
    augmentation: Any = MISSING
    learner: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    callbacks: Any = MISSING


@dataclass
class SampleConfig:
    """The top level of conf/sample.yaml."""

    checkpoint: str = MISSING
    per_class: Count32 | None = MISSING
    interpolate: Steps | None = MISSING
    out: str = MISSING
    overwrite: bool = MISSING
    classes: list[Any] | None = MISSING  # numbers or names
    seed: Whole32 = MISSING
    trust: list[Any] = MISSING


@dataclass
class EvaluateConfig:
    """The top level of conf/evaluate.yaml."""

    checkpoint: str = MISSING
    images: Images = MISSING
    out: str | None = MISSING
    overwrite: bool = MISSING
    cache_dir: str = MISSING
    root: str | None = MISSING
    allow_changes: bool = MISSING
    trust: list[Any] = MISSING
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


@dataclass
class ReportConfig:
    """The keys of conf/report.yaml."""

    out: str
    overwrite: bool
    trust: list[str]
    cache_dir: str
    root: str | None


@dataclass
class ExportConfig:
    """The keys of conf/export.yaml."""

    out: str
    overwrite: bool
    trust: list[str]


@dataclass
class ReproduceConfig:
    """The keys of conf/reproduce.yaml."""

    out: str
    jobs: int | None
    table: str | None
    only: str | None
    publish: str | None


def register() -> None:
    """Register the schemas with Hydra, once, under the names that the files of conf/ build on."""
    store = ConfigStore.instance()
    schemas = {
        "schema": TrainConfig,
        "sample_schema": SampleConfig,
        "evaluate_schema": EvaluateConfig,
        "search_schema": SearchConfig,
    }
    for name, node in schemas.items():
        if f"{name}.yaml" not in store.repo:
            store.store(name=name, node=node)
