"""Schema of conf/search.yaml: the keys of a search. conf/ holds the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from mergan.config.ranges import Count, Count32, Whole32


class Sampler(Enum):
    """How a search proposes values, see mergan.tuning.sampling."""

    tpe = "tpe"
    random = "random"


@dataclass
class SearchSettings:
    """What a search does, see mergan.tuning."""

    trials: Count32 = MISSING
    jobs: Count = MISSING
    metric: Any = MISSING  # the name of a figure, or a list of names
    pruning_metric: str | None = MISSING
    sampler: Sampler = MISSING
    seed: Whole32 = MISSING
    dir: str = MISSING
    storage: str | None = MISSING
    name: str = MISSING


@dataclass
class SearchConfig:
    """The top level of conf/search.yaml; all other keys of the command are those of the trainings."""

    search: SearchSettings = field(default_factory=SearchSettings)
