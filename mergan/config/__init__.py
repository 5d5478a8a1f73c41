"""The configuration: its schema, checks, stream of tasks, and comparison (no torch)."""

from mergan.config.checks import (
    check,
    check_evaluation,
    check_fields,
    check_interpolations,
    check_machine,
    check_values,
    is_file,
)
from mergan.config.comparison import (
    OF_COMMAND,
    REFERENCE,
    absolute_paths,
    below,
    differences,
    harmless,
    links,
)
from mergan.config.composition import CONF, compose, load_configuration, loader
from mergan.config.measures import feature_names
from mergan.config.schema import (
    EvaluateConfig,
    EvaluationConfig,
    ExportConfig,
    Images,
    ReportConfig,
    ReproduceConfig,
    Resume,
    SampleConfig,
    Split,
    TrainConfig,
    register,
)
from mergan.config.search_settings import SearchConfig, SearchSettings
from mergan.config.stream import MEANINGLESS, apply_caps, is_joined, scenario
from mergan.config.typed import plain, typed

__all__ = [
    "CONF",
    "MEANINGLESS",
    "OF_COMMAND",
    "REFERENCE",
    "EvaluateConfig",
    "EvaluationConfig",
    "ExportConfig",
    "Images",
    "ReportConfig",
    "ReproduceConfig",
    "Resume",
    "SampleConfig",
    "SearchConfig",
    "SearchSettings",
    "Split",
    "TrainConfig",
    "absolute_paths",
    "apply_caps",
    "below",
    "check",
    "check_evaluation",
    "check_fields",
    "check_interpolations",
    "check_machine",
    "check_values",
    "compose",
    "differences",
    "feature_names",
    "harmless",
    "is_file",
    "is_joined",
    "links",
    "load_configuration",
    "loader",
    "plain",
    "register",
    "scenario",
    "typed",
]
