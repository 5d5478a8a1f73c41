"""The configuration: schema, checks, the stream it describes, and how two of them differ (no torch)."""

from pathlib import Path

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
from mergan.config.schema import (
    EvaluateConfig,
    EvaluationConfig,
    Features,
    Resume,
    SampleConfig,
    Split,
    TrainConfig,
    register,
)
from mergan.config.stream import apply_caps, scenario

CONF = Path(__file__).resolve().parent.parent.parent / "conf"

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
    "differences",
    "harmless",
    "is_file",
    "links",
    "register",
    "scenario",
]
