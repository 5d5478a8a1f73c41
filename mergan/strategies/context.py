"""What a strategy sees of the training at a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mergan.data.image_set import ImageSet
from mergan.scenarios.base import Task
from mergan.strategies.costs import Costs
from mergan.system import whole_batch


@dataclass
class Context:
    """What a strategy sees of the training at a step. A strategy draws from `rng` and modifies nothing else.

    Where several processes share a run, `latent`, `labels` and `picks` draw for the whole batch and give each
    process its part (mergan.system.whole_batch). Other draws from `rng` are the same in all of them.

    Attributes:
        task: the current task.
        generator: the generator in training.
        snapshot: a frozen copy of the generator at the end of the last task, in eval mode.
            Meaningful only if `task.before` is not empty. In `end_task` it is the generator that was
            trained in this task.
        real: the real training images of the task's classes.
        batch_size: images in a batch of data, in each process.
        latent_dim: size of z.
        counts: real training images of each class of the task.
        num_batches: number of data batches in the whole task.
        rng: the random generator of this epoch, on `device`; every random draw uses it.
        device: the device of images and labels.
        seed: the seed of the run.
        real_images: real images in the current batch of data, of all processes together; None where there is
            only one.
        discriminator: images (B, C, S, S), labels (B,) -> adversarial logits (B,), class logits; None where
            the learner has none.
        costs: what the updates have taken so far.

    A step must not make the CPU wait for the device. So it reads no value back, and it builds no tensor from
    numbers of Python: copying them to the device waits until the device has done all that it was given.
    `all_labels` keeps labels on the device for that purpose.
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
    real_images: int | None = None
    discriminator: nn.Module | None = None
    costs: Costs = field(default_factory=Costs)
    _classes: dict[tuple[int, ...], Tensor] = field(default_factory=dict, init=False, repr=False)

    def task_rng(self) -> torch.Generator:
        """A new random generator on `device` that depends only on (seed, task).

        Results made from it and the snapshot are the same in every process and after a resume.
        """
        return torch.Generator(self.device).manual_seed(self.seed * 100_003 + self.task.index)

    def latent(self, count: int) -> Tensor:
        """Standard normal z (count, latent_dim)."""
        size = (whole_batch.total(count), self.latent_dim)
        return whole_batch.own(torch.randn(size, generator=self.rng, device=self.device))

    def all_labels(self, classes: tuple[int, ...]) -> Tensor:
        """The labels `classes` as a tensor (len(classes),) on `device`, copied there on first use."""
        if classes not in self._classes:
            self._classes[classes] = torch.tensor(classes, device=self.device)
        return self._classes[classes]

    def labels(self, classes: tuple[int, ...], count: int) -> Tensor:
        """Labels (count,) drawn uniformly from `classes`."""
        return self.all_labels(classes)[self.picks(len(classes), whole_batch.total(count))]

    def each_label(self, classes: tuple[int, ...], count: int, first: int = 0) -> Tensor:
        """Labels (n,): each of `classes` as often as the others.

        Args:
            classes: the labels.
            count: most labels; but every class appears at least once.
            first: place of the first of these images in the whole batch.
        """
        # fitted into the images of one process, so that all processes have equally many
        times = whole_batch.total(max(1, count // len(classes)))
        return whole_batch.own(self.all_labels(classes).repeat_interleave(times), first=first)

    def picks(self, most: int, total: int, first: int = 0) -> Tensor:
        """Numbers in [0, most), drawn uniformly for `total` images of all processes; those of this one.

        Args:
            most: see above.
            total: how many are drawn.
            first: place of the first of these images in the whole batch.
        """
        whole = torch.randint(most, (total,), generator=self.rng, device=self.device)
        return whole_batch.own(whole, first=first)

    def draw(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images (B, C, S, S) that the generator draws for an update of its own, for z (B, latent_dim) and
        labels (B,). They count as images that it has seen.
        """
        self.costs.images["g"] += len(labels)
        images: Tensor = self.generator(z, labels)
        return images

    def replay(self, labels: Tensor, spread: float = 1.0) -> Tensor:
        """Images (B, C, S, S) in [-1, 1] that the snapshot generates for labels (B,), from z of the standard
        deviation `spread`.
        """
        with torch.no_grad():
            return self.snapshot(spread * self.latent(len(labels)), labels)
