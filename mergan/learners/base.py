"""The base of all learners: tasks, epochs and seeds."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from mergan.config.ranges import Count, Fraction, Whole
from mergan.data.pool import ImagePool
from mergan.learners.readings import Terms
from mergan.learners.updates import UpdatedGenerator
from mergan.networks.layers import inherit_classes
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Context, Strategy
from mergan.system import processes, whole_batch
from mergan.system.errors import ConfigError


class ContinualLearner(UpdatedGenerator):
    """A conditional generator that is trained task after task. A subclass defines the training step.

    Args:
        generator: see mergan.networks.
        strategy: the method against forgetting.
        scenario: the stream of tasks.
        latent_dim: size of z.
        ema: decay of the moving average of the generator's weights, or null; see SampledGenerator.
        reset_optimizers: clear Adam's moments when a task begins.
        inherit_classes: initialise new classes with the mean of those learned before.
        seed: seed of every random draw during training.
        **updates: batch_size, lr, lr_scale, betas, lr_schedule, shared_rate and log_every_n_steps, see
            UpdatedGenerator.

    Attributes:
        offers: what a strategy may need besides the training (Strategy.needs): "loss_on" if the method is
            there, "discriminator" if it is in the context.

    Raises:
        ConfigError: the strategy needs what the learner does not offer.
    """

    offers: frozenset[str] = frozenset()

    def __init__(
        self,
        generator: nn.Module,
        strategy: Strategy,
        scenario: Scenario,
        *,
        latent_dim: Count,
        ema: Fraction | None,
        reset_optimizers: bool,
        inherit_classes: bool,
        seed: Whole,
        **updates: Any,
    ) -> None:
        super().__init__(generator, strategy, ema, **updates)
        self._check_needs(strategy)
        self.scenario = scenario
        self.latent_dim = latent_dim
        self.reset_optimizers = reset_optimizers
        self.inherit_classes = inherit_classes
        self.seed = seed

    # ------------------------------------------------------------------ for subclasses

    @classmethod
    def complete(cls, generator: nn.Module, num_classes: int, latent_dim: int) -> nn.Module:
        """Build the module that is trained, frozen and sampled as the generator.

        A checkpoint is sampled without its learner. So this module must map z ~ N(0, I) and a label to an
        image on its own.

        Args:
            generator: see mergan.networks.
            num_classes: classes of the data set.
            latent_dim: size of z.
        """
        return generator

    @abstractmethod
    def step(self, images: Tensor, labels: Tensor, context: Context) -> Terms:
        """Update every network one or more times.

        Args:
            images: real images (N, C, S, S) in [-1, 1] of the task's classes, `batches_per_step` batches.
            labels: (N,).
            context: what the strategy sees.

        Returns:
            The values to log. Scalars stay on the device.
        """

    @property
    def critic(self) -> nn.Module | None:
        """The discriminator; None if there is none."""
        return None

    @property
    def compilable(self) -> list[nn.Module]:
        """Networks that a step differentiates at most once, so they can be compiled."""
        return [self.generator, self.snapshot]

    def prepare_task(self, task: Task) -> None:
        """Called before a task, after the generator and the optimizers have been prepared for it."""

    def _check_needs(self, strategy: Strategy) -> None:
        for part in sorted(strategy.needs - self.offers):
            raise ConfigError(
                f"strategy: {type(strategy).__name__} needs the {part} of a learner, which "
                f"{type(self).__name__} does not offer; use learner=acgan"
            )

    # ------------------------------------------------------------------ tasks and epochs

    @property
    def task(self) -> Task:
        """The task of the current epoch."""
        return self.scenario.task_at(self.current_epoch)

    def on_train_epoch_start(self) -> None:
        # all random numbers of this epoch depend only on (seed, epoch), so a resumed run draws the same ones
        # as an uninterrupted run, and several processes the same ones as a single process
        seed = (self.seed * 1_000_003 + self.current_epoch) * 1_009
        # dropout takes no generator, it uses the global one; no process must drop what another one drops
        torch.manual_seed(seed + self.global_rank)
        task = self.task
        pool: ImagePool = self.trainer.datamodule.pool  # type: ignore[attr-defined]
        self._context = Context(
            task=task,
            generator=self.generator,
            snapshot=self.snapshot,
            batch_size=self.batch_size,
            latent_dim=self.latent_dim,
            real=pool.real_of(task.classes),
            counts=pool.counts(task.classes),
            num_batches=task.epochs * int(self.trainer.num_training_batches) * self.batches_per_step,
            rng=torch.Generator(self.device).manual_seed(seed),
            device=self.device,
            seed=self.seed,
            discriminator=self.critic,
            costs=self.costs,
        )
        if self.current_epoch == task.first_epoch:
            self._start_task(task)
        self.strategy.begin_task(self._context)
        self._pace.begin(self.global_step)

    def _start_task(self, task: Task) -> None:
        if self.inherit_classes:
            for network in (self.generator, self.ema):
                if network is not None:
                    inherit_classes(network, task.new, task.before)
        if self.reset_optimizers:
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()
        self.prepare_task(task)
        for callback in self._task_callbacks():
            callback.on_task_start(self.trainer, self)

    def on_train_epoch_end(self) -> None:
        """At the end of a task, run its callbacks; the first freezes the snapshot (mergan.run.build)."""
        if self.current_epoch == self.task.last_epoch:
            for callback in self._task_callbacks():
                callback.on_task_end(self.trainer, self)

    def _task_callbacks(self) -> list[TaskCallback]:
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        return [callback for callback in callbacks if isinstance(callback, TaskCallback)]

    def end_task(self) -> None:
        """Finish the current task: freeze the trained generator as the snapshot, then notify the strategy."""
        self.take_snapshot()
        self.strategy.end_task(self.context)
        processes.spread(self)  # GPUs may round what a strategy computes in different ways

    # ------------------------------------------------------------------ steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Run one `step` with the scheduled learning rates.

        Args:
            batch: real images (N, C, S, S) in [-1, 1] and labels (N,).
            batch_idx: index in the epoch.

        Raises:
            TrainingError: a loss or gradient to be logged is not finite. The last step of every epoch is
                always logged, so no checkpoint contains the result of such a value.
        """
        task, batches = self.task, int(self.trainer.num_training_batches)
        done = (self.current_epoch - task.first_epoch) * batches + batch_idx
        self.set_learning_rates(done / (task.epochs * batches))
        last_of_epoch = batch_idx + 1 == batches
        self._logging = (self.global_step + 1) % self.log_every_n_steps == 0 or last_of_epoch
        context = self.context
        if processes.me().count > 1:
            context.real_images = self.trainer.train_dataloader.images_in(batch_idx)  # type: ignore[union-attr]
        with whole_batch.one_batch():
            terms = self.step(*batch, context)
            if self._logging:
                self.log_terms(terms, task.index)


class TaskCallback(pl.Callback):
    """A callback with hooks for the start and end of a task, called in the trainer's callback order."""

    def on_task_start(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Called before the first step of a task, when the learner is ready for it.

        A run that resumes in the middle of a task does not call it again.
        """

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Called after the last epoch of a task.

        At this point `on_train_epoch_end` has run for every callback. The checkpoint is not yet written.
        """
