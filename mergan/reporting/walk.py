"""One pass over the checkpoints of a run: a generator at a time, so that memory holds no more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from mergan.checkpoints.trust import Trust
from mergan.evaluation.sampling import sample
from mergan.output import plots
from mergan.run.trained import CheckpointGenerator, load_checkpoint
from mergan.system.errors import CheckpointError

LATENTS = 10  # per class
SEED = 0  # of the latents and of the samples
POINTS = 120  # samples after a task, of the classes of the first task
MOST_CLASSES = 6  # of the first task, that are sampled


@dataclass(frozen=True)
class Walk:
    """What the generators of a run made after its tasks.

    Attributes:
        class_names: names of the data set's classes.
        latents: after each task, by class: images uint8 (LATENTS, C, S, S) of the same latents.
        first: the classes of the first task, at most `MOST_CLASSES`.
        samples: after chosen tasks, numbered from 0: images uint8 (N, C, S, S) of the classes `first`, and
            their labels (N,).
        last: the generator after the last task.
        path: its checkpoint.
    """

    class_names: Sequence[str]
    latents: Sequence[Mapping[int, np.ndarray]]
    first: Sequence[int]
    samples: Mapping[int, tuple[Tensor, Tensor]]
    last: CheckpointGenerator
    path: Path

    @property
    def per_class(self) -> int:
        """Samples of each class."""
        return POINTS // len(self.first)


def walk(paths: Sequence[Path], trust: Trust) -> Walk:
    """Go through the checkpoints of a run.

    Args:
        paths: of the checkpoints at the ends of its tasks, in order.
        trust: which classes they may name.

    Raises:
        CheckpointError: one cannot be read, is not trusted, or is of another run than the first.
    """
    chosen = {0, (len(paths) - 1) // 2, len(paths) - 1}
    latents, samples = [], {}
    first: list[int] = []
    names: list[str] = []
    for task, path in enumerate(paths):
        generator = load_checkpoint(path, trust)
        names = names or generator.class_names
        first = first or list(generator.seen)[:MOST_CLASSES]
        if generator.class_names != names or not set(first) <= set(generator.seen):
            raise CheckpointError(f"checkpoint {path}: is of another run than {paths[0].name}")
        seen = list(generator.seen)
        images = plots.samples(generator, seen, LATENTS, generator.latent_dim, SEED)
        latents.append(dict(zip(seen, images, strict=True)))
        if task in chosen:
            samples[task] = sample(generator, first, POINTS // len(first), generator.latent_dim, SEED)
    return Walk(names, latents, first, samples, generator, paths[-1])
