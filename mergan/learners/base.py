"""What every learner shares: tasks, seeds, optimizers, learning rates, logging."""

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
from mergan.learners.readings import Terms, gradient_norm, read_back
from mergan.learners.schedules import SCHEDULES, Schedule
from mergan.networks.layers import inherit_classes
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Context, Strategy


class Trained(NamedTuple):
    """Networks that share an optimizer.

    Attributes:
        networks: whose weights it moves.
        lr: Adam's learning rate before the schedule.
    """

    networks: Sequence[nn.Module]
    lr: float


class ContinualLearner(SampledGenerator):
    """A conditional generator in training, task after task. A subclass says what a step is.

    The first of the optimizers is the generator's. Only its steps go through Lightning and count, so that
    `global_step` is the number of generator steps.

    Args:
        generator: see mergan.networks.
        strategy: what is done against forgetting.
        scenario: the stream of tasks.
        latent_dim: size of z.
        batch_size: images in a batch of data, and in a batch of the generator.
        lr: Adam's learning rate of the generator.
        lr_scale: factor on all learning rates.
        betas: Adam's decay rates.
        lr_schedule: constant, linear, cosine or cooldown, within each task.
        ema: decay of an average of the generator's weights, or null, see SampledGenerator.
        reset_optimizers: forget Adam's moments when a task begins.
        inherit_classes: start new classes from the mean of those learned before.
        seed: seed of every random draw of the training.
        log_every_n_steps: steps between two read-backs of the losses for the loggers.

    Attributes:
        progress: how much of the present task is done before the present step, from 0 to below 1.
        last_losses: what was read back last.
    """

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
        self.progress = 0.0
        self.last_losses: dict[str, float] = {}
        self._context: Context | None = None
        self._logging = False  # whether the losses of the present step are read back
        self._watched = True  # whether Lightning or a callback takes part in backward passes

    # ------------------------------------------------------------------ what a subclass says

    @abstractmethod
    def trained(self) -> dict[str, Trained]:
        """The networks in training by the name of their optimizer, the generator's first."""

    @abstractmethod
    def step(self, images: Tensor, labels: Tensor, context: Context) -> Terms:
        """Update all networks once or several times.

        Args:
            images: real images (N, C, S, S) in [-1, 1] of the task's classes, `batches_per_step` batches.
            labels: (N,).
            context: what the strategy sees.

        Returns:
            What is logged. Scalars stay on the device.
        """

    @property
    def batches_per_step(self) -> int:
        """Batches of data that a step takes."""
        return 1

    @property
    def compilable(self) -> list[nn.Module]:
        """Networks that are differentiated once in a step at most, so that they can be compiled."""
        return [self.generator, self.snapshot]

    @property
    def networks(self) -> list[nn.Module]:
        """All networks in training."""
        return [network for part in self.trained().values() for network in part.networks]

    def prepare_task(self, task: Task) -> None:
        """Called before a task, after the generator and the optimizers have been made ready for it."""

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
        # everything random of this epoch depends on (seed, epoch, rank) alone, so that a resumed run
        # draws what the uninterrupted one would have drawn
        seed = (self.seed * 1_000_003 + self.current_epoch) * 1_009 + self.global_rank
        torch.manual_seed(seed)  # dropout knows no generator of its own
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
        )
        if self.current_epoch == task.first_epoch:
            self._start_task(task)
        self.strategy.begin_task(self._context)

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
        """Tell the callbacks of a task's end, the one that freezes the snapshot first (mergan.run.build)."""
        if self.current_epoch == self.task.last_epoch:
            for callback in self._task_callbacks():
                callback.on_task_end(self.trainer, self)

    def _task_callbacks(self) -> list[TaskCallback]:
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        return [callback for callback in callbacks if isinstance(callback, TaskCallback)]

    def end_task(self) -> None:
        """Conclude the current task: freeze the trained generator as the snapshot, tell the strategy."""
        self.take_snapshot()
        self.strategy.end_task(self.context)

    # ------------------------------------------------------------------ steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """One `step` at the learning rates of the schedule.

        Args:
            batch: real images (N, C, S, S) in [-1, 1] and labels (N,).
            batch_idx: position in the epoch.

        Raises:
            TrainingError: a loss or a gradient that is about to be logged is not finite. They are logged in
                the last step of every epoch, so that no checkpoint holds what comes of them.
        """
        task, batches = self.task, int(self.trainer.num_training_batches)
        done = (self.current_epoch - task.first_epoch) * batches + batch_idx
        self.progress = done / (task.epochs * batches)
        self._set_learning_rates()
        last_of_epoch = batch_idx + 1 == batches
        self._logging = (self.global_step + 1) % self.log_every_n_steps == 0 or last_of_epoch
        terms = self.step(*batch, self.context)
        if self._logging:
            self._log(terms)

    def minimise(self, name: str, loss: Tensor) -> Terms:
        """Take an optimizer's step.

        Args:
            name: of the optimizer, as in `trained`.
            loss: scalar.

        Returns:
            The loss and, where losses are read back in this step, the norm of the gradients.
        """
        trained = self.trained()
        index = list(trained).index(name)
        found: Any = self.optimizers()
        optimizer = found[index] if isinstance(found, list) else found
        if index > 0:
            optimizer = optimizer.optimizer  # Lightning counts the steps of those it wraps
        terms = {f"{name}/loss": loss}
        optimizer.zero_grad()
        if self._watched:
            self.manual_backward(loss)
        else:
            loss.backward()  # the same where nobody listens
        if self._logging:
            terms[f"{name}/gradient"] = gradient_norm(trained[name].networks)
        optimizer.step()
        if index == 0:
            self.average()
        return terms

    # ------------------------------------------------------------------ optimizers and logging

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """An Adam for each entry of `trained`."""
        return [
            torch.optim.Adam(
                [weight for network in networks for weight in network.parameters()],
                lr=lr,
                betas=self.betas,  # type: ignore[arg-type]  # two of them
                fused=True,
            )
            for networks, lr in self.trained().values()
        ]

    def _set_learning_rates(self) -> None:
        factor = self.lr_schedule(self.progress)
        for optimizer, (_, lr) in zip(self.trainer.optimizers, self.trained().values(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor

    def _log(self, terms: Terms) -> None:
        """Read the losses back and hand them to the loggers."""
        place = f"task {self.task.index}, epoch {self.current_epoch}, step {self.global_step}"
        self.last_losses = read_back(terms, place)
        rates = {
            f"lr/{name}": optimizer.param_groups[0]["lr"]
            for name, optimizer in zip(self.trained(), self.trainer.optimizers, strict=True)
        }
        for logger in self.loggers:
            logger.log_metrics(
                {**self.last_losses, **rates, "epoch": self.current_epoch}, step=self.global_step
            )


class TaskCallback(pl.Callback):
    """A callback that hears when a task begins and ends, in the order of the trainer's callbacks."""

    def on_task_start(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Called before the first step of a task, when the learner is ready for it. A run that goes on in
        the middle of a task does not call it again.
        """

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        """Called after the last epoch of a task, when every callback has heard `on_train_epoch_end`, and
        before the checkpoint is written.
        """
