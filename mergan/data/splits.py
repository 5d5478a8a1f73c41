"""Splits that all runs share; they do not depend on the seed of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mergan.system.errors import DataError
from mergan.system.text import shown

SUBSET_SEED = 1809


def fixed_permutation(count: int, *key: int) -> np.ndarray:
    """A permutation of range(count), int64 (count,), that is always the same on every machine.

    The stream of `RandomState` is frozen; that of newer generators may change with the NumPy version.
    """
    return np.random.RandomState(list(key)).permutation(count)


def hold_out(
    labels: np.ndarray, fraction: float, names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Set a share of each class aside.

    Args:
        labels: int64 (N,).
        fraction: share of each class to set aside, above 0; at least one image.
        names: names of the classes in error messages, by label; None: the labels.

    Returns:
        Remaining positions and positions set aside, int64, ascending and disjoint.

    Raises:
        DataError: a class is so small that no image would remain.
    """
    left, aside = [], []
    for label, order in _shuffled_classes(labels):
        cut = max(1, round(len(order) * fraction))
        if cut >= len(order):
            name = str(label) if names is None else shown(names[label])
            raise DataError(
                f"class {name} has only {len(order)} training image, none would be left with "
                "evaluation.split=val; use evaluation.split=test"
            )
        aside.append(order[:cut])
        left.append(order[cut:])
    return np.sort(np.concatenate(left)), np.sort(np.concatenate(aside))


def first_of_each(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Positions of the first `per_class` images of each class among `labels` (N,): int64 (n,), ascending."""
    chosen = [np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def at_most(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Positions of at most `per_class` images of each class among `labels` (N,): int64 (n,), ascending.

    The choice is random, but always the same.
    """
    return np.sort(np.concatenate([order[:per_class] for _, order in _shuffled_classes(labels)]))


def _shuffled_classes(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for label in np.unique(labels).tolist():
        positions = np.flatnonzero(labels == label)
        yield label, positions[fixed_permutation(len(positions), SUBSET_SEED, label)]
