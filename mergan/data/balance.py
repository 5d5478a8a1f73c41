"""Classes with different numbers of images: what a balanced pass delivers, and what a user should know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mergan.system.text import shortened, shown

FEW = 10  # with fewer training images, a generator can hardly do better than copy them


def images_of_one_pass(counts: Collection[int], balanced: bool) -> int:
    """Number of images in one pass over classes with `counts` images each.

    A balanced pass delivers every image of the largest class once, and as many images of each other class.
    """
    return len(counts) * max(counts) if balanced else sum(counts)


class Passes:
    """Shuffled passes over the images of some classes.

    Args:
        classes: the positions of the images of each class, int64 (n,) each, n > 0.
        balanced: whether a pass delivers as many images of every class as the largest class has. Images of
            smaller classes then come several times, each as often as any other of its class or once more.
    """

    def __init__(self, classes: Sequence[np.ndarray], balanced: bool) -> None:
        self._positions = np.sort(np.concatenate(classes))
        most = max(map(len, classes))
        self._smaller = [of for of in classes if len(of) < most] if balanced else []
        self._most = most

    def __len__(self) -> int:
        """Number of images in a pass."""
        return len(self._positions) + sum(self._most - len(of) for of in self._smaller)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One pass: positions int64 (len(self),) in random order."""
        return rng.permutation(np.concatenate([self._positions, *self._again(rng)]))

    def _again(self, rng: np.random.Generator) -> list[np.ndarray]:
        """What the smaller classes lack, drawn from their own images."""
        drawn = []
        for of in self._smaller:
            whole, rest = divmod(self._most - len(of), len(of))
            drawn += [np.tile(of, whole), rng.permutation(of)[:rest]]
        return drawn


def remarks(counts: Mapping[int, int], names: Sequence[str], balanced: bool) -> list[str]:
    """What to tell the user about the numbers of training images, one line each.

    Args:
        counts: training images of each class of the stream.
        names: the name of each class, by label.
        balanced: see Passes.
    """
    lines = []
    fewest, most = min(counts, key=lambda label: counts[label]), max(counts, key=lambda label: counts[label])
    if balanced and counts[fewest] < counts[most]:
        lines.append(
            f"training images per class: from {counts[fewest]} ({_name(names, fewest)}) to {counts[most]} "
            f"({_name(names, most)}); batches of a task draw its classes equally often (data.balance=false: "
            "in proportion to its images)"
        )
    few = [label for label, count in counts.items() if count < FEW]
    if few:
        others = f" and {len(few) - 1} more" if len(few) > 1 else ""
        lines.append(
            f"classes with fewer than {FEW} training images: {_name(names, few[0])} ({counts[few[0]]})"
            f"{others}; expect copies of them, and rough figures"
        )
    return lines


def _name(names: Sequence[str], label: int) -> str:
    return shortened(shown(names[label]))
