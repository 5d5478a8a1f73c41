"""The base of EWC (in both forms) and MAS: a quadratic penalty on moving important weights."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mergan.config.ranges import Count, NonNegative, Portion
from mergan.strategies.base import Strategy
from mergan.strategies.batches import Drawn
from mergan.strategies.context import Context
from mergan.strategies.vectors import flat

GROUP = 8  # images of one class generated together; the gradient is taken for each image separately


class ImportancePenalty(Strategy):
    """Penalises changes of a weight since the end of the last task.

    The penalty grows with the importance of the weight for the earlier classes:

        penalty = weight / 2 * K / N * sum_i Omega_i (theta_i - theta*_i)^2,  theta* = weights of the snapshot
        Omega <- decay * (1 - R / N) * Omega
                 + sum over the task's classes c of E_{z ~ N(0, I)} [m(d s(G(z, c)) / d theta)]

    N classes were seen before the task. K of them are past, and R are back in the task. Without repetition
    K = N and R = 0. Omega is one sum over all classes and cannot be split, so each returning class removes
    an equal share of it. While its real images are available, nothing is protected for it. When the task
    ends, it is measured again and not counted twice.

    Omega is measured on generated images when a task ends, so no real images are needed. Subclasses define
    the score s and the measure m. The scores of EWC and MAS are per channel and pixel, so their `weight`
    means the same for images of any size. The generator's rows of classes not yet learned affect no image,
    so their importance is zero and they stay free.

    One Omega and one anchor theta* serve all classes, as in online EWC (Schwarz et al. 2018,
    arXiv 1805.06370, section 4). So memory and cost per step do not grow with the number of tasks. Their
    gamma is `decay` (eq. 9), but also multiplies the penalty (eq. 8), a constant factor on `weight`; and
    they normalise what each task adds.

    Discriminator and data are those of fine-tuning. After `init_from`, Omega is measured for the classes
    that the networks know.

    Args:
        weight: factor on the penalty.
        samples: generated images per task for the estimate of Omega, divided among the task's classes.
        decay: factor on the importance of earlier classes when a task ends; below 1 their protection
            fades.
        divide_by_classes: divide `weight` by K, the number of past classes. The sum over classes protects
            every weight more strongly with each task, until late classes cannot be learned. The mean has
            the same strength from the second task to the last.

    Attributes:
        importance: Omega, (number of the generator's weights,), saved with the module.
        classes_measured: how many classes Omega includes.
    """

    uses_snapshot = True
    importance: Tensor
    classes_measured: Tensor

    def __init__(
        self,
        weight: NonNegative,
        samples: Count,
        decay: Portion,
        divide_by_classes: bool,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.samples = samples
        self.decay = decay
        self.divide_by_classes = divide_by_classes

    @abstractmethod
    def score(self, images: Tensor, labels: Tensor, context: Context, rng: torch.Generator) -> Tensor:
        """The score s (B,) of the images (B, C, S, S) of labels (B,); random numbers come from `rng`."""

    @abstractmethod
    def measure(self, gradient: Tensor) -> Tensor:
        """The measure m, element by element: the importance that one image's gradient gives each weight."""

    def build(self, generator: nn.Module, num_classes: int, channels: int, image_size: int) -> None:
        count = sum(parameter.numel() for parameter in generator.parameters())
        self.register_buffer("importance", torch.zeros(count))
        self.register_buffer("classes_measured", torch.zeros((), dtype=torch.int64))

    def begin_task(self, context: Context) -> None:
        """Measure the classes known from `init_from`; otherwise do nothing."""
        if context.task.before and self.classes_measured == 0:
            self._add(context.task.before, 1.0, context)
            self.classes_measured += len(context.task.before)

    def end_task(self, context: Context) -> None:
        """Measure the task's classes, using the generator that has just learned them."""
        task = context.task
        self._add(task.classes, 1 - len(task.returning) / max(len(task.before), 1), context)
        self.classes_measured += len(task.new)

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        """The penalty, if there are past classes."""
        task = context.task
        if not task.past:
            return {}
        moved = flat(context.generator.parameters()) - flat(context.snapshot.parameters())
        weight = self.weight / len(task.past) if self.divide_by_classes else self.weight
        weight *= len(task.past) / len(task.before)
        return {"importance": weight / 2 * (self.importance * moved.square()).sum()}

    def _add(self, classes: tuple[int, ...], share: float, context: Context) -> None:
        """Scale Omega by `share` and the decay, then measure classes and add them."""
        rng = context.task_rng()
        per_class = math.ceil(self.samples / len(classes))
        self.importance.mul_(self.decay * share)
        for label in classes:
            for gradient in self._gradients(label, per_class, context, rng):
                self.importance.add_(self.measure(gradient), alpha=1 / per_class)

    def _gradients(self, label: int, count: int, context: Context, rng: torch.Generator) -> Iterator[Tensor]:
        """Gradients (number of weights,) of the score, one for each of `count` images of a class.

        The images come from the snapshot, i.e. from the weights that the penalty will be anchored to. They
        are generated in groups of one class, so a generator with batch statistics draws as it does
        elsewhere.
        """
        snapshot = context.snapshot
        weights = {name: weight.detach().requires_grad_() for name, weight in snapshot.named_parameters()}
        targets = list(weights.values())
        for start in range(0, count, GROUP):
            size = min(GROUP, count - start)
            z = torch.randn(size, context.latent_dim, generator=rng, device=context.device)
            labels = torch.full((size,), label, device=context.device)
            with torch.enable_grad():
                images = functional_call(snapshot, weights, (z, labels))
                scores = self.score(images.float(), labels, context, rng)
            for score in scores:
                yield flat(torch.autograd.grad(score, targets, retain_graph=True, materialize_grads=True))
