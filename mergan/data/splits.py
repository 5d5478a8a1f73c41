"""Splits that every run shares: they do not move with the seed of a run."""

from __future__ import annotations

import numpy as np

from mergan.errors import DataError

SUBSET_SEED = 1809


def fixed_permutation(count: int, *key: int) -> np.ndarray:
    """A permutation of range(count), int64 (count,), that is the same for ever and on every machine.

    The stream of `RandomState` is frozen; that of newer generators may change with NumPy.
    """
    return np.random.RandomState(list(key)).permutation(count)


def hold_out(
    labels: np.ndarray, fraction: float, max_per_class: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Set a share of each class aside and limit what is left of it.

    Args:
        labels: int64 (N,).
        fraction: share of each class to set aside, at least one image; 0 for none at all.
        max_per_class: how many images of a class to leave at most; None for all.

    Returns:
        Positions that are left and positions set aside, int64, both ascending and disjoint.

    Raises:
        DataError: a class is so small that none of it would be left.
    """
    left, aside = [], []
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        order = positions[fixed_permutation(len(positions), SUBSET_SEED, int(label))]
        cut = max(1, round(len(order) * fraction)) if fraction else 0
        if cut >= len(order):
            raise DataError(
                f"class {label} has only {len(order)} training image, none would be left with "
                "evaluation.split=val; use evaluation.split=test"
            )
        aside.append(order[:cut])
        left.append(order[cut:][:max_per_class])
    return np.sort(np.concatenate(left)), np.sort(np.concatenate(aside))
