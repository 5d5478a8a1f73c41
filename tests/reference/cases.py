"""Features, real and generated, on which the metrics are compared with other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent / "metrics.json"
NEIGHBOURS = (1, 5)
Pair = tuple[np.ndarray, np.ndarray]  # real (N, D), generated (M, D), float64


def random() -> Pair:
    """Overlapping clouds of 16 dimensions."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 16)), 0.9 * rng.normal(size=(200, 16)) + 0.2


def tied() -> Pair:
    """Points of a small grid, so that many distances are equal and many points are the same."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 3, (120, 4)).astype(float), rng.integers(0, 3, (120, 4)).astype(float)


def copies() -> Pair:
    """Twenty points, each six times, generated and real alike: the balls have no extent."""
    points = np.random.default_rng(2).integers(-9, 9, (20, 3)).astype(float)
    return np.repeat(points, 6, axis=0), np.repeat(points, 6, axis=0)


def many_generated() -> Pair:
    """Five times as many generated features as real ones."""
    rng = np.random.default_rng(3)
    return rng.normal(size=(60, 8)), 1.1 * rng.normal(size=(300, 8)) - 0.1


def few_generated() -> Pair:
    """Five times as many real features as generated ones, which lie close together."""
    rng = np.random.default_rng(4)
    return rng.normal(size=(300, 8)), 0.5 * rng.normal(size=(60, 8)) + 0.3


CASES: dict[str, Callable[[], Pair]] = {
    make.__name__: make for make in (random, tied, copies, many_generated, few_generated)
}
