"""`mergan.load`: a trained generator that you sample from by class name."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergan import config
from mergan.config import hints
from mergan.config.ranges import Count32, Whole32
from mergan.output.folder import RunFolder
from mergan.system.errors import CheckpointError, ConfigError
from mergan.system.text import shortened, shown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mergan.run.rebuilding import TrainedGenerator


def load(path: Path, trust: Sequence[str] = ()) -> Generator:
    """The generator of a checkpoint or of a run folder; see `mergan.load`."""
    from mergan.checkpoints.trust import of_command
    from mergan.run.trained import load_generator

    path = path.expanduser()
    if isinstance(trust, str):
        raise ConfigError(f"trust={trust}: is a list of modules, e.g. [{trust!r}]")
    return Generator(load_generator(checkpoint_of(path), of_command({}, [config.CONF], list(trust))))


def checkpoint_of(path: Path) -> Path:
    """The checkpoint that a path means: the file itself, or the last one of a run folder.

    Raises:
        CheckpointError: a folder holds none.
    """
    if not os.path.isdir(path):
        return path
    run = RunFolder(path)
    if run.last.is_file():
        return run.last
    if not run.task_checkpoints:
        raise CheckpointError(f"{path}: holds no checkpoint; name a run folder, or a file of its checkpoints")
    return run.task_checkpoints[max(run.task_checkpoints)]


class Generator:
    """A trained generator. It samples on the GPU if the machine has one, and returns images on the CPU.

    Args:
        trained: the generator rebuilt from the checkpoint.

    Attributes:
        class_names: names of all classes of the data set; a class's number is its index here.
        seen: names of the classes that it has learned.
    """

    def __init__(self, trained: TrainedGenerator) -> None:
        self._trained = trained
        self.class_names = list(trained.class_names)
        self.seen = [self.class_names[label] for label in sorted(trained.seen)]

    def __repr__(self) -> str:
        return f"<generator of {len(self.seen)} classes: {shortened(shown(', '.join(self.seen)))}>"

    def sample(
        self, classes: Sequence[str | int] | None = None, per_class: int = 1, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Draw images. Seed and per_class decide them as in `mergan sample`, whatever the other classes are.

        Args:
            classes: names or numbers; None: all classes that the generator has learned.
            per_class: images per class.
            seed: seed of z.

        Returns:
            Images uint8 (N, C, S, S) and their labels int64 (N,), class after class.

        Raises:
            ConfigError: a class that the generator has not learned, a number out of range, or more images
                than memory holds.
        """
        from mergan.evaluation.sampling import sample
        from mergan.run import estimate

        check_request(per_class, seed)
        labels = self.labels(classes)
        trained, shape = self._trained, self._trained.config.data
        estimate.check_samples(per_class, len(labels), shape.channels, shape.image_size)
        return sample(trained, labels, per_class, trained.latent_dim, seed)

    def grid(self, columns: int = 10, seed: int = 0) -> np.ndarray:
        """One row per learned class, the same z in every row.

        By default the images are those of `samples/task_NN.png`, without its real images.

        Args:
            columns: images per class.
            seed: seed of z.

        Returns:
            uint8 (H, W, 3), which PIL's `Image.fromarray` accepts.

        Raises:
            ConfigError: a number out of range.
        """
        from mergan.output import plots

        hints.check("columns", columns, Count32)
        hints.check("seed", seed, Whole32)
        trained = self._trained
        classes = sorted(trained.seen)
        images = plots.samples(trained, classes, columns, trained.latent_dim, seed)
        rows = [plots.Row(self.class_names[label], own) for label, own in zip(classes, images, strict=True)]
        return plots.grid(rows)

    def labels(self, classes: Sequence[str | int] | None) -> list[int]:
        """The numbers of classes.

        Args:
            classes: names or numbers; None: all classes that the generator has learned.

        Raises:
            ConfigError: the generator has not learned a class.
        """
        learned = sorted(self._trained.seen)
        if classes is None:
            return learned
        asked = [classes] if isinstance(classes, str) else list(classes)
        labels = [self._label(each) for each in asked]
        if not labels or any(label not in learned for label in labels):
            names = ", ".join(self._named(label) for label in learned)
            raise ConfigError(
                f"classes={shown(str(asked))}: the generator has learned {shortened(names, 400)}"
            )
        return [label for label in labels if label is not None]

    def _label(self, asked: Any) -> int | None:
        """The number of a class; None if the argument is neither a name nor a number."""
        if isinstance(asked, str):
            return self.class_names.index(asked) if asked in self.class_names else None
        if isinstance(asked, bool) or not hasattr(asked, "__index__"):
            return None
        return operator.index(asked)

    def _named(self, label: int) -> str:
        name = shown(self.class_names[label])
        return name if name == str(label) else f"{label} ({name})"


def check_request(per_class: int, seed: int) -> None:
    """Refuse numbers out of range before anything is loaded.

    Raises:
        ConfigError: the message names the key.
    """
    hints.check("per_class", per_class, Count32)
    hints.check("seed", seed, Whole32)
