"""The interface of a continual strategy."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mergan.scenarios.base import Task
from mergan.strategies.batches import Asked, Drawn, TrainingBatch, Update
from mergan.strategies.context import Context


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
