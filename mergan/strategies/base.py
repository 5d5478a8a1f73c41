"""The interface of a continual strategy, and the data that it receives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mergan.data.image_set import ImageSet
from mergan.scenarios.base import Task
from mergan.system import whole_batch


class Drawn(NamedTuple):
    """A batch that the generator draws in a training step.

    Attributes:
        z: (B, latent_dim).
        labels: (B,), the requested classes.
        images: G(z, c), (B, C, S, S) in [-1, 1], with their autograd graph.
        shares: (B,), the share of each image in the losses, see Asked.
    """

    z: Tensor
    labels: Tensor
    images: Tensor
    shares: Tensor | None = None


class Asked(NamedTuple):
    """What a learner asks its generator for in a training step.

    Attributes:
        labels: (B,), the requested classes.
        shares: (B,), the share of each image in the losses, with a sum of 1 (the mean of the sums, where
            several processes share a batch); None: equal shares.
    """

    labels: Tensor
    shares: Tensor | None = None


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

    def replay(self, labels: Tensor, spread: float = 1.0) -> Tensor:
        """Images (B, C, S, S) in [-1, 1] that the snapshot generates for labels (B,), from z of the standard
        deviation `spread`.
        """
        with torch.no_grad():
            return self.snapshot(spread * self.latent(len(labels)), labels)


@dataclass
class TrainingBatch:
    """The data that a learner treats as real in a step: real images, and images of past classes.

    Attributes:
        images: (B, C, S, S) in [-1, 1].
        labels: (B,).
        weights: (B,), the weight of each sample in the loss; for a plain average 1/B each.
        regularised: number of leading images at which a learner computes its penalties.
        adversarial_weights: (B,), the weights in the adversarial loss of a GAN; None: `weights`, which then
            are those of the classifier's loss only.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    regularised: int
    adversarial_weights: Tensor | None = None

    @property
    def adversarial(self) -> Tensor:
        """The weights (B,) in the adversarial loss."""
        return self.weights if self.adversarial_weights is None else self.adversarial_weights

    @classmethod
    def uniform(cls, images: Tensor, labels: Tensor) -> TrainingBatch:
        """A batch in which every sample has the same weight."""
        weights = torch.full((len(images),), 1 / len(images), device=images.device)
        return cls(images, labels, weights, len(images))


class Update(NamedTuple):
    """An optimizer step that a learner is about to take.

    Attributes:
        name: name of the optimizer, as in ContinualLearner.trained.
        of_generator: whether it updates the generator.
        weights: what it updates. Their `grad` holds the gradient of the loss, the mean over all processes; it
            is None for weights that the loss does not depend on.
        loss_on: the learner's loss of this update on other data, without penalties and terms of the strategy;
            only with `Strategy.needs`.
        take: takes the step.
    """

    name: str
    of_generator: bool
    weights: Sequence[nn.Parameter]
    loss_on: Callable[[TrainingBatch], Tensor]
    take: Callable[[], Any]


class Strategy(nn.Module):
    """A way to learn a task without forgetting earlier ones. The base class does nothing to prevent it.

    State that must survive a restart (a Fisher matrix, a solver) belongs in parameters or buffers.
    Create them in `build` with their final shapes; they are saved with the module. State that follows
    from (snapshot, seed, task) is computed again. The training optimizers never update a strategy's
    parameters.

    Attributes:
        uses_classifier: False removes the auxiliary classifier's terms from a learner that has one.
        max_per_class: maximum number of real training images per class; None for all.
        takes_first: whether these are the first images of each class in the data set, instead of a fixed
            random choice.
        uses_snapshot: whether training needs the snapshot.
        needs: what a learner must offer (ContinualLearner.offers) besides the training itself: "loss_on" of
            an Update, "discriminator" of the Context.
    """

    uses_classifier: bool = True
    uses_snapshot: bool = False
    needs: frozenset[str] = frozenset()
    max_per_class: int | None = None
    takes_first: bool = False

    def build(self, generator: nn.Module, num_classes: int, channels: int, image_size: int) -> None:
        """Create the state whose shape depends on the generator or the images.

        Called once, before training and before weights are loaded.

        Args:
            generator: the freshly built generator.
            num_classes: classes of the data set.
            channels: channels of the images.
            image_size: side of the images in pixels.

        Raises:
            ConfigError: an argument of the strategy does not fit the classes or images.
        """

    def inherit(self, state: Mapping[str, Tensor], rows: Tensor) -> None:
        """Take over the state of an earlier run; strategies that do not need it ignore it.

        Called before a stream that starts from trained networks (`init_from`).

        Args:
            state: the state dict of the earlier run's strategy, which may be a different one.
            rows: (n,), the label in the current data set of each of the earlier run's n classes.

        Raises:
            ConfigError: the strategy cannot continue from such a run.
        """

    def check_state(self) -> None:
        """Refuse values that no run produces, such as labels out of range.

        Called after the state was loaded from a file with matching shapes.

        Raises:
            ConfigError: a value is invalid; the message names the buffer.
        """

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """Average number of real images in a batch of `batch_size`; the strategy adds the rest.

        Args:
            task: the task.
            batch_size: images in a batch of data.
            counts: real training images of each class of the task.
        """
        return batch_size

    def begin_task(self, context: Context) -> None:
        """Called before the first step of every epoch of a task, so also after a resume.

        It must be idempotent: repeated calls leave the strategy in the same state.
        """

    def end_task(self, context: Context) -> None:
        """Called once after a task's last epoch, when the snapshot has been taken.

        The evaluation and the checkpoint come afterwards. The time spent here counts as training time.
        """

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """The data of a step, given real images (n, C, S, S) and labels (n,) of the task's classes."""
        return TrainingBatch.uniform(images, labels)

    def asked_classes(self, task: Task) -> tuple[int, ...]:
        """The classes that the learner requests from its generator in training, all equally often; a class
        that stands there twice is requested twice as often.
        """
        return task.classes

    def asked(self, context: Context, count: int) -> Asked:
        """The generated batch of an update; here `count` images, uniformly from `asked_classes`.

        Args:
            context: the state of the training.
            count: images in a generated batch; a strategy may ask for more.
        """
        return Asked(context.labels(self.asked_classes(context.task), count))

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        """Additional terms of the generator's loss, by the name under which they are logged.

        Args:
            context: the state of the training.
            drawn: the batch that the generator has drawn in this step.
        """
        return {}

    def optimise(self, update: Update, context: Context) -> None:
        """Take an optimizer step, called once for each update of each network.

        A strategy may change the gradients before the step, e.g. project them, or compare the weights before
        and after it.
        """
        update.take()

    def bytes_kept(self, generator: nn.Module) -> int:
        """Bytes to be kept from one task to the next besides the networks in training.

        They are those of the saved state, and of the snapshot (as large as `generator`) if it is used.
        """
        return size(self) + (size(generator) if self.uses_snapshot else 0)

    def stored_images(self, label: int) -> Tensor | None:
        """Images uint8 (N, C, S, S) on the CPU that are measured in place of generated ones of a class.

        None: the generator's images are measured. A bounded set of images would be drawn with repetitions by
        `generate`; this way each one counts once.
        """
        return None

    def generate(self, generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
        """Images (B, C, S, S) in [-1, 1] of classes `labels` (B,), as a function of z (B, latent_dim).

        Evaluation, sample grids and `mergan.sample` draw all their images with this method. `generator`
        is in eval mode.
        """
        return generator(z, labels)


def size(module: nn.Module) -> int:
    """Bytes of all parameters and buffers of a module."""
    return sum(tensor.nbytes for tensor in module.state_dict().values())
