"""The configuration: schema, checks, the stream it describes, and how two of them differ (no torch)."""

from mergan.config.checks import (
    COUNT,
    MOST,
    SEED_RANGE,
    check,
    check_evaluation,
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
from mergan.config.composition import CONF, compose
from mergan.config.schema import (
    EvaluateConfig,
    EvaluationConfig,
    Features,
    ReportConfig,
    ReproduceConfig,
    Resume,
    SampleConfig,
    Split,
    TrainConfig,
    register,
)
from mergan.config.stream import apply_caps, scenario

__all__ = [
    "CONF",
    "COUNT",
    "MOST",
    "OF_COMMAND",
    "REFERENCE",
    "SEED_RANGE",
    "EvaluateConfig",
    "EvaluationConfig",
    "Features",
    "ReportConfig",
    "ReproduceConfig",
    "Resume",
    "SampleConfig",
    "Split",
    "TrainConfig",
    "absolute_paths",
    "apply_caps",
    "below",
    "check",
    "check_evaluation",
    "check_interpolations",
    "check_machine",
    "check_values",
    "compose",
    "differences",
    "harmless",
    "is_file",
    "links",
    "register",
    "scenario",
]
