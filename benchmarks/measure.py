"""Paired measurements: both sides alternate, so that a machine that slows down slows both."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

COMPARE = {">=": operator.ge, "<=": operator.le}


@dataclass
class Figure:
    """One line of the table.

    Attributes:
        name: what is measured.
        target: a comparison and a number, ">= 2.5"; empty for a figure without a target.
        reached: the figure: a ratio of medians, or a median of seconds.
        low: the lowest of the pairs.
        high: the highest.
        unit: "x" for ratios, "s", "%".
        details: what it was made of.
    """

    name: str
    target: str
    reached: float
    low: float
    high: float
    unit: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if not self.target:
            return None
        sign, number = self.target.split()
        return bool(COMPARE[sign](self.reached, float(number)))

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self) | {"met": self.met}


@dataclass
class Pairs:
    """What `alternate` has measured of two sides, in the order of the rounds."""

    first: list[float]
    second: list[float]

    def ratio(self, name: str, target: str, **details: Any) -> Figure:
        """first / second: ratio of the medians, with the lowest and the highest ratio of a round."""
        rounds = [a / b for a, b in zip(self.first, self.second, strict=True)]
        median = statistics.median(self.first) / statistics.median(self.second)
        parts = {"first": self.first, "second": self.second}
        return Figure(name, target, median, min(rounds), max(rounds), "x", parts | details)


def alternate(first: Callable[[], float], second: Callable[[], float], rounds: int) -> Pairs:
    """Measure both in turn, `rounds` times; every other round begins with the second."""
    pairs = Pairs([], [])
    for index in range(rounds):
        if index % 2 == 0:
            pairs.first.append(first())
            pairs.second.append(second())
        else:
            pairs.second.append(second())
            pairs.first.append(first())
    return pairs


def seconds(name: str, target: str, values: list[float], **details: Any) -> Figure:
    """The median of times, with the shortest and the longest."""
    return Figure(name, target, statistics.median(values), min(values), max(values), "s", details)
