"""What is searched: the keys with several values on the command line, in Hydra's grammar for sweeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from mergan import config
from mergan.system.errors import ConfigError
from mergan.system.text import shortened

LOG = "log"
SHOWN = 200  # characters of a word


@dataclass(frozen=True)
class Dimension:
    """A searched key.

    Attributes:
        key: the key; a "+" in front adds it to the configuration.
        word: the searched values as typed, KEY=VALUES.
        distribution: Optuna's distribution of the values.
        texts: of a choice, how each value is written on the command line, by value.
    """

    key: str
    word: str
    distribution: BaseDistribution
    texts: dict[Any, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of Optuna's parameter."""
        return self.key.lstrip("+")

    @property
    def may_be_whole(self) -> bool:
        """Whether it is an interval of numbers between whole bounds, which a key may want whole."""
        part = self.distribution
        if not isinstance(part, FloatDistribution) or part.step is not None:
            return False
        return part.low.is_integer() and part.high.is_integer()

    def whole(self) -> Dimension:
        """The same interval, of whole numbers only."""
        part = self.distribution
        assert isinstance(part, FloatDistribution)
        return replace(self, distribution=IntDistribution(int(part.low), int(part.high), log=part.log))

    def override(self, value: Any) -> str:
        """The word KEY=VALUE that sets the key to one value."""
        return f"{self.key}={self.texts[value] if self.texts else _number(value)}"

    def suggest(self, trial: Trial) -> Any:
        """The value of a trial: the one it has, or the one that the study's sampler proposes."""
        part = self.distribution
        if isinstance(part, CategoricalDistribution):
            return trial.suggest_categorical(self.name, part.choices)
        if isinstance(part, IntDistribution):
            return trial.suggest_int(self.name, part.low, part.high, step=part.step, log=part.log)
        assert isinstance(part, FloatDistribution)
        return trial.suggest_float(self.name, part.low, part.high, step=part.step, log=part.log)

    def extremes(self) -> list[Any]:
        """The values to check in advance: all of a choice, both ends of an interval or a range."""
        part = self.distribution
        if isinstance(part, CategoricalDistribution):
            return list(part.choices)
        assert isinstance(part, IntDistribution | FloatDistribution)
        return [part.low, part.high]

    def inner(self) -> str:
        """The word for a value inside an interval that is no whole number."""
        part = self.distribution
        assert isinstance(part, FloatDistribution)
        return self.override(part.low + (part.high - part.low) / math.e)


def parse(words: Sequence[str], folders: Sequence[Path] = ()) -> tuple[list[Dimension], list[str]]:
    """Split overrides into the searched keys and those that have one value in all trials.

    Args:
        words: overrides that `mergan.cli.words.overrides` has passed.
        folders: the folders of --config-dir, for the choices that glob() finds.

    Raises:
        ConfigError: a sweep makes no sense in a search, or a key is set twice.
    """
    reader = OverridesParser.create(config.loader(folders))  # type: ignore[arg-type]  # it asks for choices
    searched, fixed, seen = [], [], set()
    for word, override in zip(words, reader.parse_overrides(list(words)), strict=True):
        key = override.get_key_element().lstrip("+~")
        if key in seen:
            raise ConfigError(f"{_shown(word)}: {key} is set twice; give it once")
        seen.add(key)
        if override.is_sweep_override():
            searched.append(_dimension(override, word))
        else:
            fixed.append(word)
    return searched, fixed


def _dimension(override: Override, word: str) -> Dimension:
    if override.is_delete() or override.is_hydra_override():
        raise ConfigError(f"{_shown(word)}: this key cannot be searched")
    sweep: Any = override.value()
    tags = set(getattr(sweep, "tags", ()))
    if getattr(sweep, "shuffle", False):
        raise ConfigError(f"{_shown(word)}: a search draws the values itself; leave shuffle() out")
    if unknown := sorted(tags - {LOG}):
        raise ConfigError(f"{_shown(word)}: the tag {unknown[0]} means nothing to a search; use log or none")
    key = override.get_key_element()
    if isinstance(sweep, IntervalSweep):
        return Dimension(key, word, _interval(sweep, word))
    if LOG in tags:
        raise ConfigError(
            f"{_shown(word)}: the tag log needs an interval, as in tag(log,interval(1e-4,1e-2))"
        )
    if isinstance(sweep, RangeSweep):
        return Dimension(key, word, _range(sweep, word))
    assert isinstance(sweep, ChoiceSweep | Glob)
    texts = _texts(override, word)
    return Dimension(key, word, CategoricalDistribution(list(texts)), texts)


def _interval(sweep: IntervalSweep, word: str) -> IntDistribution | FloatDistribution:
    low, high = sweep.start, sweep.end
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{_shown(word)}: write interval(LOW,HIGH) with finite numbers, LOW below HIGH")
    log = LOG in sweep.tags
    if log and low <= 0:
        raise ConfigError(f"{_shown(word)}: the tag log needs an interval above 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _range(sweep: RangeSweep, word: str) -> IntDistribution | FloatDistribution:
    """The values of Python's range(), whose stop does not belong to it."""
    start, stop, step = (Decimal(str(number)) for number in (sweep.start, sweep.stop, sweep.step))
    if not all(number.is_finite() for number in (start, stop, step)) or step == 0:
        raise ConfigError(f"{_shown(word)}: write range(START,STOP,STEP) with finite numbers and a step")
    count = math.ceil((stop - start) / step)
    if count < 1:
        raise ConfigError(f"{_shown(word)}: this range holds no value")
    ends = sorted((start, start + (count - 1) * step))
    if all(isinstance(number, int) for number in (sweep.start, sweep.stop, sweep.step)):
        return IntDistribution(int(ends[0]), int(ends[1]), step=int(abs(step)))
    return FloatDistribution(float(ends[0]), float(ends[1]), step=float(abs(step)))


def _texts(override: Override, word: str) -> dict[Any, str]:
    """How each value of a choice is written. Lists and mappings stand for themselves as text."""
    found: dict[Any, str] = {}
    values = list(override.sweep_iterator())
    if not values:
        raise ConfigError(f"{_shown(word)}: no choice of {override.key_or_group} fits")
    for value, text in zip(values, override.sweep_string_iterator(), strict=True):
        plain = value.text if isinstance(value, QuotedString) else value
        name = plain if isinstance(plain, str | int | float | bool) else text
        if name in found:
            raise ConfigError(f"{_shown(word)}: {text} stands there twice; give each value once")
        found[name] = text
    return found


def _number(value: float) -> str:
    """A number as a key of whole numbers can read it too, where it is whole."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def _shown(word: str) -> str:
    return shortened(word, SHOWN)
