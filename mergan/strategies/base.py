"""What a continual strategy can decide, and what it is given to decide with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mergan.data.image_set import ImageSet
from mergan.scenarios.base import Task


class Drawn(NamedTuple):
    """What the generator draws in a step of the training.

    Attributes:
        z: (B, latent_dim).
        labels: (B,), the classes it is asked for.
        images: G(z, c), (B, C, S, S) in [-1, 1], with their graph.
    """

    z: Tensor
    labels: Tensor
    images: Tensor


@dataclass
class Context:
    """What a strategy sees of the training at a step. It reads all of it and owns none of it.

    Attributes:
        task: the current task.
        generator: the generator in training.
        snapshot: the generator as it was at the end of the last task, frozen, in eval mode.
            Meaningful only if `task.before` is not empty. In `end_task` it is the generator that the
            task has just trained.
        real: the real training images of the task's classes.
        batch_size: images in a batch of data.
        latent_dim: size of z.
        counts: real training images of each class of the task.
        num_batches: how many batches of data the whole task takes.
        rng: the random numbers of this epoch, on `device`; every draw comes from here.
        device: where images and labels live.
        seed: the seed of the run.
    """

    task: Task
    generator: nn.Module
    snapshot: nn.Module
    batch_size: int
    latent_dim: int
    real: ImageSet
    counts: Mapping[int, int]
    num_batches: int
    rng: torch.Generator
    device: torch.device
    seed: int

    def task_rng(self) -> torch.Generator:
        """Fresh random numbers on `device` that depend on (seed, task) alone: what is made from them
        and the snapshot comes out the same in every process, and again after a resume.
        """
        return torch.Generator(self.device).manual_seed(self.seed * 100_003 + self.task.index)

    def latent(self, count: int) -> Tensor:
        """Standard normal z (count, latent_dim)."""
        return torch.randn(count, self.latent_dim, generator=self.rng, device=self.device)

    def labels(self, classes: tuple[int, ...], count: int) -> Tensor:
        """Labels (count,) drawn uniformly from `classes`."""
        table = torch.tensor(classes, device=self.device)
        picks = torch.randint(len(classes), (count,), generator=self.rng, device=self.device)
        return table[picks]

    def replay(self, labels: Tensor) -> Tensor:
        """Images (B, C, S, S) in [-1, 1] that the snapshot makes for labels (B,)."""
        with torch.no_grad():
            return self.snapshot(self.latent(len(labels)), labels)


@dataclass
class TrainingBatch:
    """The data that a learner takes for real in one of its steps: real images, and what stands for the past.

    Attributes:
        images: (B, C, S, S) in [-1, 1].
        labels: (B,).
        weights: (B,), the weight of each sample in the loss. Averages weigh 1/B each.
        regularised: penalties that a learner takes at data are taken at the first so many images.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    regularised: int

    @classmethod
    def uniform(cls, images: Tensor, labels: Tensor) -> TrainingBatch:
        """A batch in which every sample weighs the same."""
        weights = torch.full((len(images),), 1 / len(images), device=images.device)
        return cls(images, labels, weights, len(images))


class Strategy(nn.Module):
    """A way to learn a task without forgetting those before. The base class does nothing against it.

    State that must survive a restart (a Fisher matrix, a solver) belongs into parameters or buffers,
    created in `build` with their final shapes: it is saved with the module. What can be derived from
    (snapshot, seed, task) is derived again. No optimizer of the training touches a strategy's
    parameters.

    Attributes:
        uses_classifier: False takes the terms of the auxiliary classifier out of a learner that has one.
        max_per_class: cap on the real training images of each class, None for all.
    """

    uses_classifier: bool = True
    max_per_class: int | None = None

    def build(self, generator: nn.Module, num_classes: int, channels: int, image_size: int) -> None:
        """Called once, before training and before weights are loaded: create the state whose shape
        depends on the generator or on the images.

        Args:
            generator: the freshly built generator.
            num_classes: classes of the data set.
            channels: channels of the images.
            image_size: their side in pixels.

        Raises:
            ConfigError: an argument of the strategy does not fit them.
        """

    def inherit(self, state: Mapping[str, Tensor], rows: Tensor) -> None:
        """Called before a stream that starts from trained networks (`init_from`): take over what the
        run before has left. A strategy that can do without leaves it.

        Args:
            state: the state dict of the strategy of that run, whichever it was.
            rows: (n,), the label that each of its n classes has in the present data set.

        Raises:
            ConfigError: the strategy cannot go on from such a run.
        """

    def check_state(self) -> None:
        """Called when the state has been loaded from a file, whose shapes fit: refuse values that no run
        leaves, as labels out of range.

        Raises:
            ConfigError: naming the buffer.
        """

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """How many real images a batch of `batch_size` holds on average; the strategy adds the rest.

        Args:
            task: the task.
            batch_size: images in a batch of data.
            counts: real training images of each class of the task.
        """
        return batch_size

    def begin_task(self, context: Context) -> None:
        """Called before the first step of every epoch of a task, and so again after a resume.

        It must bring the strategy into the same state however often it is called.
        """

    def end_task(self, context: Context) -> None:
        """Called once when a task's last epoch is over and the snapshot has been taken, before the
        generator is judged and the checkpoint is written. Its time counts as training.
        """

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """The data of a step, given real images (n, C, S, S) and labels (n,) of the task's classes."""
        return TrainingBatch.uniform(images, labels)

    def asked_classes(self, task: Task) -> tuple[int, ...]:
        """The classes that a learner asks its generator for while it trains, each as often."""
        return task.classes

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        """Further terms of the generator's loss, by the name they are logged under.

        Args:
            context: of the training.
            drawn: what the generator has drawn in this step.
        """
        return {}

    def generate(self, generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
        """Images (B, C, S, S) in [-1, 1] of classes `labels` (B,), as a function of z (B, latent_dim).

        Evaluation, sample grids and `mergan.sample` draw all their images through this; `generator`
        is in eval mode.
        """
        return generator(z, labels)
