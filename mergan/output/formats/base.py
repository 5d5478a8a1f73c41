"""What a format is given, and what it does with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mergan.output import lettering
from mergan.output.places import check_output
from mergan.output.plots.grids import NAME
from mergan.system.errors import ConfigError

MOST_COLUMNS = 100  # images side by side in a picture


@dataclass(frozen=True)
class Samples:
    """Images drawn from one generator: K classes, n of each, T steps of an interpolation (1: there is none).

    Attributes:
        images: uint8 (K, n, T, C, S, S).
        labels: the numbers of the K classes.
        class_names: names of all classes of the data set, in the order of their numbers.
        title: how far the training was, e.g. "after task 3 of 10".
        notes: for each of the K classes, when it was learned, e.g. "task 2".
    """

    images: np.ndarray
    labels: Sequence[int]
    class_names: Sequence[str]
    title: str = ""
    notes: Sequence[str] = field(default=())

    @property
    def names(self) -> list[str]:
        """The names of the K classes."""
        return [self.class_names[label] for label in self.labels]

    @property
    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """All images uint8 (N, C, S, S), class after class, and their labels int64 (N,)."""
        of_class = self.images.shape[1] * self.images.shape[2]
        return self.images.reshape(-1, *self.images.shape[3:]), np.repeat(
            np.array(self.labels, dtype=np.int64), of_class
        )


class Format(ABC):
    """A way to write samples. It has no state, and importing it takes no torch.

    Attributes:
        per_class: images of each class if the command names no number.
        paths_per_class: the same for interpolations, each of which is several images.
        titled: whether it shows `Samples.title` and `Samples.notes`.
        every_task: whether it shows all tasks of a run instead of one checkpoint.
    """

    per_class = 100
    paths_per_class = 100
    titled = False
    every_task = False

    def check(self, out: Path, overwrite: bool) -> Path:
        """The path where it will write, with `~` resolved.

        Raises:
            ConfigError: nothing may be written there; see mergan.output.places.
        """
        return check_output(out, overwrite)

    def check_count(self, classes: int, per_class: int, steps: int) -> None:
        """Refuse more images than the format can show.

        Args:
            classes: number of classes.
            per_class: images or paths of each class.
            steps: images of each path; 1: no interpolation.

        Raises:
            ConfigError: the message names the key.
        """
        return  # any number fits

    @abstractmethod
    def write(self, samples: Sequence[Samples], out: Path, overwrite: bool) -> list[str]:
        """Write the file or folder in one piece.

        Args:
            samples: one, or one per task if `every_task`.
            out: the path that `check` has returned.
            overwrite: whether something that `check` has allowed may be replaced.

        Returns:
            Lines that tell the user what was written.

        Raises:
            StorageError: it cannot be written; nothing is left behind.
        """


def check_columns(key: str, columns: int) -> None:
    """Refuse a picture that is too broad to look at.

    Raises:
        ConfigError: the message names the key.
    """
    if columns > MOST_COLUMNS:
        raise ConfigError(
            f"{key}={columns}: a picture shows at most {MOST_COLUMNS} images side by side; "
            "use fewer, or another suffix of out"
        )


def counted(samples: Samples) -> str:
    """How many images of how many classes."""
    images, labels = samples.flat[0], samples.labels
    return f"{len(images):,} images of {len(labels)} classes"


def row_name(samples: Samples, label: int) -> str:
    """The name of a class as a picture shows it; a changed name gets the number of its class in front."""
    return lettering.label(samples.class_names[label], label, NAME)
