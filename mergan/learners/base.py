"""The base of all learners: tasks, seeds, optimizers, learning rates, logging."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import lightning.pytorch as pl
import torch
from annotated_types import Len
from torch import Tensor, nn

from mergan.config.ranges import Count, Fraction, Positive, Share, Whole
from mergan.data.pool import ImagePool
from mergan.learners.backward import takes_part_in_backward
from mergan.learners.generator import SampledGenerator
from mergan.learners.readings import Pace, Terms, gradient_norm, read_back
from mergan.learners.schedules import SCHEDULES, Schedule
from mergan.networks.layers import inherit_classes
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Context, Costs, Strategy, TrainingBatch, Update
from mergan.system import processes, whole_batch
from mergan.system.errors import ConfigError


class Trained(NamedTuple):
    """Networks that share an optimizer.

    Attributes:
        networks: the networks whose weights it updates.
        lr: Adam's learning rate before the schedule.
    """

    networks: Sequence[nn.Module]
    lr: float


class ContinualLearner(SampledGenerator):
    """A conditional generator that is trained task after task. A subclass defines the training step.

    The first optimizer is the generator's. Only its steps go through Lightning and are counted, so
    `global_step` is the number of generator steps.

    Args:
        generator: see mergan.networks.
        strategy: the method against forgetting.
        scenario: the stream of tasks.
        latent_dim: size of z.
        batch_size: images in a batch of data, and in a generated batch, in each process.
        lr: Adam's learning rate for the generator.
        lr_scale: factor on all learning rates.
        betas: Adam's decay rates.
        lr_schedule: constant, linear, cosine or cooldown, within each task.
        ema: decay of the moving average of the generator's weights, or null; see SampledGenerator.
        reset_optimizers: clear Adam's moments when a task begins.
        inherit_classes: initialise new classes with the mean of those learned before.
        seed: seed of every random draw during training.
        log_every_n_steps: the losses are read back for the loggers every so many steps.

    Attributes:
        last_losses: the losses that were read back last.
        costs: what the updates have taken so far; a resumed run is told by the callback that counts them.
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
        batch_size: Count,
        lr: Positive,
        betas: Annotated[Sequence[Share], Len(2, 2)],
        lr_schedule: Schedule,
        ema: Fraction | None,
        reset_optimizers: bool,
        inherit_classes: bool,
        seed: Whole,
        log_every_n_steps: Count,
        lr_scale: float = 1.0,
    ) -> None:
        super().__init__(generator, strategy, ema)
        self._check_needs(strategy)
        self.betas = tuple(betas)
        self.automatic_optimization = False
        self.scenario = scenario
        self.latent_dim = latent_dim
        self.batch_size = batch_size
        self.lr = lr * lr_scale
        self.lr_schedule = SCHEDULES[lr_schedule]
        self.reset_optimizers = reset_optimizers
        self.inherit_classes = inherit_classes
        self.seed = seed
        self.log_every_n_steps = log_every_n_steps
        self.last_losses: dict[str, float] = {}
        self.costs = Costs()
        self._context: Context | None = None
        self._pace = Pace()
        self._logging = False  # whether the losses of the current step are read back
        self._watched = True  # whether Lightning or a callback takes part in backward passes

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
    def trained(self) -> dict[str, Trained]:
        """The trained networks by the name of their optimizer, the generator's first."""

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

    def loss_on(self, name: str, batch: TrainingBatch, context: Context) -> Tensor:
        """The loss of an update on other data than the step's, without penalties and terms of the strategy.

        Args:
            name: name of the optimizer, as in `trained`.
            batch: the data, with the classes that the generator is asked for.
            context: what the strategy sees.

        Raises:
            NotImplementedError: the learner does not offer it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no loss on other data")

    @property
    def batches_per_step(self) -> int:
        """Number of data batches per step."""
        return 1

    @property
    def critic(self) -> nn.Module | None:
        """The discriminator; None if there is none."""
        return None

    @property
    def compilable(self) -> list[nn.Module]:
        """Networks that a step differentiates at most once, so they can be compiled."""
        return [self.generator, self.snapshot]

    @property
    def networks(self) -> list[nn.Module]:
        """All trained networks."""
        return [network for part in self.trained().values() for network in part.networks]

    def prepare_task(self, task: Task) -> None:
        """Called before a task, after the generator and the optimizers have been prepared for it."""

    def _check_needs(self, strategy: Strategy) -> None:
        for part in sorted(strategy.needs - self.offers):
            raise ConfigError(
                f"strategy: {type(strategy).__name__} needs the {part} of a learner, which "
                f"{type(self).__name__} does not offer; use learner=acgan"
            )

    # ------------------------------------------------------------------ tasks and epochs

    def on_fit_start(self) -> None:
        self._watched = takes_part_in_backward(self.trainer)

    @property
    def task(self) -> Task:
        """The task of the current epoch."""
        return self.scenario.task_at(self.current_epoch)

    @property
    def context(self) -> Context:
        """What the strategy sees of the current epoch.

        Raises:
            RuntimeError: no epoch has begun.
        """
        if self._context is None:
            raise RuntimeError("the training has not begun")
        return self._context

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
        self._set_learning_rates(batch_idx)
        last_of_epoch = batch_idx + 1 == self.trainer.num_training_batches
        self._logging = (self.global_step + 1) % self.log_every_n_steps == 0 or last_of_epoch
        context = self.context
        if processes.me().count > 1:
            context.real_images = self.trainer.train_dataloader.images_in(batch_idx)  # type: ignore[union-attr]
        with whole_batch.one_batch():
            terms = self.step(*batch, context)
            if self._logging:
                self._log(terms)

    def draw(self, z: Tensor, labels: Tensor, context: Context) -> Tensor:
        """G(z, c) for the generator's own update, counted among the images that it has seen.

        Args:
            z: (B, latent_dim).
            labels: (B,), the requested classes.
            context: what the strategy sees.

        Returns:
            Images (B, C, S, S) in [-1, 1], with their graph.
        """
        context.costs.images["g"] += len(labels)
        images: Tensor = self.generator(z, labels)
        return images

    def minimise(self, name: str, loss: Tensor) -> Terms:
        """Take one optimizer step through the strategy; several processes first average their gradients.

        Args:
            name: name of the optimizer, as in `trained`.
            loss: scalar.

        Returns:
            The loss and, if losses are read back in this step, the gradient norm.
        """
        trained = self.trained()
        index = list(trained).index(name)
        found: Any = self.optimizers()
        optimizer = found[index] if isinstance(found, list) else found
        if index > 0:
            optimizer = optimizer.optimizer  # Lightning counts the steps of wrapped optimizers
        terms = {f"{name}/loss": loss}
        optimizer.zero_grad()
        if self._watched:
            self.manual_backward(loss)
        else:
            loss.backward()  # equivalent if nothing uses the hooks
        whole_batch.average_gradients(trained[name].networks)
        if self._logging:
            terms[f"{name}/gradient"] = gradient_norm(trained[name].networks)
        context = self.context
        (group,) = optimizer.param_groups
        update = Update(
            name,
            index == 0,
            group["params"],
            lambda batch: self.loss_on(name, batch, context),
            optimizer.step,
        )
        self.strategy.optimise(update, context)
        self.costs.updates[name] += 1
        if index == 0:
            self.average()
        return terms

    # ------------------------------------------------------------------ optimizers and logging

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One Adam optimizer for each entry of `trained`."""
        return [
            torch.optim.Adam(
                [weight for network in networks for weight in network.parameters()],
                lr=lr,
                betas=self.betas,  # type: ignore[arg-type]  # two of them
                fused=True,
            )
            for networks, lr in self.trained().values()
        ]

    def _set_learning_rates(self, batch_idx: int) -> None:
        task, batches = self.task, int(self.trainer.num_training_batches)
        done = (self.current_epoch - task.first_epoch) * batches + batch_idx
        factor = self.lr_schedule(done / (task.epochs * batches))
        for optimizer, (_, lr) in zip(self.trainer.optimizers, self.trained().values(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor

    def _log(self, terms: Terms) -> None:
        """Read the losses back and pass them to the loggers."""
        place = f"task {self.task.index}, epoch {self.current_epoch}, step {self.global_step}"
        self.last_losses = read_back(terms, place)
        rates = {
            f"lr/{name}": optimizer.param_groups[0]["lr"]
            for name, optimizer in zip(self.trained(), self.trainer.optimizers, strict=True)
        }
        images = self.batches_per_step * self.batch_size * processes.me().count
        speed = {"speed/images_per_second": images * self._pace.steps_per_second(self.global_step)}
        for logger in self.loggers:
            logger.log_metrics(
                {**self.last_losses, **rates, **speed, "epoch": self.current_epoch}, step=self.global_step
            )


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
