"""How the networks of a learner are updated: optimizers, learning rates, steps through the strategy, logs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Len
from torch import Tensor, nn

from mergan.config.ranges import Count, Fraction, Portion, Positive, Share
from mergan.learners.backward import takes_part_in_backward
from mergan.learners.generator import SampledGenerator
from mergan.learners.readings import Pace, Terms, gradient_norm, read_back
from mergan.learners.schedules import SCHEDULES, Schedule
from mergan.learners.slowing import slowed
from mergan.networks.layers import shared_weights
from mergan.strategies import Context, Costs, Strategy, TrainingBatch, Update
from mergan.system import processes, whole_batch


class Trained(NamedTuple):
    """Networks that share an optimizer.

    Attributes:
        networks: the networks whose weights it updates.
        lr: Adam's learning rate before the schedule.
    """

    networks: Sequence[nn.Module]
    lr: float


class UpdatedGenerator(SampledGenerator):
    """A generator and the networks beside it, updated by Adam.

    The first optimizer is the generator's. Only its steps go through Lightning and are counted, so
    `global_step` is the number of generator steps.

    Args:
        generator, strategy, ema: see SampledGenerator.
        batch_size: images in a batch of data, and in a generated batch, in each process.
        lr: Adam's learning rate for the generator.
        lr_scale: factor on all learning rates.
        betas: Adam's decay rates.
        lr_schedule: constant, linear, cosine or cooldown, within each task.
        shared_rate: from the second task on, factor on the steps of the generator's weights that all classes
            share; those of single classes learn at the full rate. 1: no difference. As a slow representation
            under a fast classifier (Zhang et al. 2023, arXiv 2303.05118).
        log_every_n_steps: the losses are read back for the loggers every so many steps.

    Attributes:
        last_losses: the losses that were read back last.
        costs: what the updates have taken so far; a resumed run is told by the callback that counts them.
    """

    def __init__(
        self,
        generator: nn.Module,
        strategy: Strategy,
        ema: Fraction | None,
        *,
        batch_size: Count,
        lr: Positive,
        betas: Annotated[Sequence[Share], Len(2, 2)],
        lr_schedule: Schedule,
        log_every_n_steps: Count,
        shared_rate: Portion = 1.0,
        lr_scale: float = 1.0,
    ) -> None:
        super().__init__(generator, strategy, ema)
        self.automatic_optimization = False
        self.batch_size = batch_size
        self.lr = lr * lr_scale
        self.betas = tuple(betas)
        self.lr_schedule = SCHEDULES[lr_schedule]
        self.shared_rate = shared_rate
        self._shared = shared_weights(generator)
        self.log_every_n_steps = log_every_n_steps
        self.last_losses: dict[str, float] = {}
        self.costs = Costs()
        self._context: Context | None = None
        self._pace = Pace()
        self._logging = False  # whether the losses of the current step are read back
        self._watched = True  # whether Lightning or a callback takes part in backward passes

    @abstractmethod
    def trained(self) -> dict[str, Trained]:
        """The trained networks by the name of their optimizer, the generator's first."""

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
    def networks(self) -> list[nn.Module]:
        """All trained networks."""
        return [network for part in self.trained().values() for network in part.networks]

    @property
    def context(self) -> Context:
        """What the strategy sees of the current epoch.

        Raises:
            RuntimeError: no epoch has begun.
        """
        if self._context is None:
            raise RuntimeError("the training has not begun")
        return self._context

    def on_fit_start(self) -> None:
        self._watched = takes_part_in_backward(self.trainer)

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
        if update.of_generator and self.shared_rate < 1 and context.task.past:
            update = update._replace(take=slowed(update.take, self._shared, self.shared_rate))
        self.strategy.optimise(update, context)
        self.costs.updates[name] += 1
        if index == 0:
            self.average()
        return terms

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

    def set_learning_rates(self, progress: float) -> None:
        """Set the rates of all optimizers for the part of the task, in [0, 1), that is done."""
        factor = self.lr_schedule(progress)
        for optimizer, (_, lr) in zip(self.trainer.optimizers, self.trained().values(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor

    def log_terms(self, terms: Terms, task: int) -> None:
        """Read the losses of a step back and pass them to the loggers.

        Args:
            terms: scalars.
            task: number of the current task.

        Raises:
            TrainingError: a value is not finite.
        """
        place = f"task {task}, epoch {self.current_epoch}, step {self.global_step}"
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
