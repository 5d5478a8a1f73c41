"""Synaptic intelligence: importance from the path of training (Zenke et al. 2017, arXiv 1703.04200)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mergan.config.ranges import NonNegative, Positive
from mergan.strategies.base import Strategy
from mergan.strategies.batches import Drawn, Update
from mergan.strategies.context import Context
from mergan.strategies.vectors import flat
from mergan.system.errors import ConfigError


class SynapticIntelligence(Strategy):
    """Penalises changes of a weight by how much its earlier changes lowered the loss (eq. 3 to 5).

        penalty = weight * sum_i Omega_i (theta_i - theta~_i)^2
        omega_i = - sum over the steps of the task  dL_G/dtheta_i * (change of theta_i in the step)
        Omega_i <- Omega_i + max(omega_i, 0) / (Delta_i^2 + damping)       when a task ends

    theta~ are the weights with which the task began, and Delta_i is the change of theta_i in the task. L_G is
    the generator's loss without the penalty. If L_G were a fixed function and the steps small, the omega_i
    would add up to the decrease of L_G in the task. The authors write c for `weight` and xi for `damping`.

    The loss of a GAN's generator is no fixed function: it changes with the discriminator, and in equilibrium
    it does not fall. So omega measures progress against the discriminator of each step. A negative omega_i,
    from steps that did harm, is taken as zero, since the penalty would reward change. (The authors' code
    takes the positive part of Omega after each task, so that such steps also lower what earlier ones gave.)

    Omega costs no images and no backward passes of its own. It cannot be split by class: classes that return
    stay protected. With `learner.ema` the path is that of the generator in training, not of its average.

    Args:
        weight: factor on the penalty.
        damping: added to the squared change; it bounds the importance of weights that hardly moved.

    Attributes:
        importance: Omega, (number of the generator's weights,), saved with the module like the next three.
        path: omega of the task.
        start: theta~.
        task: index of the task that these belong to; -1 before the first one.
    """

    importance: Tensor
    path: Tensor
    start: Tensor
    task: Tensor

    def __init__(self, weight: NonNegative, damping: Positive) -> None:
        super().__init__()
        self.weight = weight
        self.damping = damping

    def build(self, generator: nn.Module, num_classes: int, channels: int, image_size: int) -> None:
        count = sum(parameter.numel() for parameter in generator.parameters())
        for name in ("importance", "path", "start"):
            self.register_buffer(name, torch.zeros(count))
        self.register_buffer("task", torch.tensor(-1))
        self.num_classes = num_classes

    def inherit(self, state: Mapping[str, Tensor], rows: Tensor) -> None:
        """Take over Omega; the path of an earlier run cannot be made up for."""
        if not {"importance", "path"} <= state.keys():
            raise ConfigError(
                "its training has left no path integral; use a checkpoint of strategy=synaptic_intelligence"
            )
        if rows.tolist() != list(range(self.num_classes)):
            raise ConfigError("its importance is that of other classes; use the data set of that run")
        self.importance.copy_(state["importance"])

    def begin_task(self, context: Context) -> None:
        """Note where the path of the task begins; later epochs change nothing."""
        if int(self.task) != context.task.index:
            self.task.fill_(context.task.index)
            self.start.copy_(flat(context.generator.parameters()).detach())
            self.path.zero_()

    def optimise(self, update: Update, context: Context) -> None:
        """Take the step, and add its part of the path integral."""
        if not update.of_generator:
            update.take()
            return
        weights = list(context.generator.parameters())
        before = flat(weights).detach()
        gradient = flat(torch.zeros_like(w) if w.grad is None else w.grad for w in weights)
        if context.task.past:
            gradient = gradient - 2 * self.weight * self.importance * (before - self.start)
        update.take()
        self.path.sub_(gradient * (flat(weights).detach() - before))

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        """The penalty, if there are past classes."""
        if not context.task.past:
            return {}
        moved = flat(context.generator.parameters()) - self.start
        return {"importance": self.weight * (self.importance * moved.square()).sum()}

    def end_task(self, context: Context) -> None:
        """Add the importance that the task has given each weight."""
        moved = flat(context.generator.parameters()).detach() - self.start
        self.importance.add_(self.path.clamp(min=0) / (moved.square() + self.damping))
