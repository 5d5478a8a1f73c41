"""Schema of the configuration: the names and types of its keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


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
    """The stream of tasks, see mergan.scenarios.base."""

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
    learner: Any = MISSING
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
    classes: list[Any] | None = None  # numbers or names
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


@dataclass
class ReportConfig:
    """The keys of conf/report.yaml."""

    out: str
    overwrite: bool


@dataclass
class ReproduceConfig:
    """The keys of conf/reproduce.yaml, and the rows of its table."""

    out: str
    jobs: int | None
    only: str | None
    rows: dict[str, dict[str, Any]]


def register() -> None:
    """Make the schemas known to Hydra under the names that the files of conf/ build on."""
    store = ConfigStore.instance()
    store.store(name="schema", node=TrainConfig)
    store.store(name="sample_schema", node=SampleConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
