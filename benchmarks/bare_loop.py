"""The optimisation steps of a default fit, called in a bare loop: no Trainer, no logs, no checkpoints.

It must do the same arithmetic as ACGAN.training_step: tests/test_benchmarks.py holds both to the same
weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.fits import Fit
from mergan.data import normalise
from mergan.data.loader import TaskLoader
from mergan.learners.objectives import Judged
from mergan.strategies import Context, Drawn


class BareLoop:
    """The networks of a fit in their first task, trained without the framework.

    Args:
        fit: whose parts are used, before they are trained.
    """

    def __init__(self, fit: Fit) -> None:
        self.fit, self.learner = fit, fit.learner
        self.optimizer_g, self.optimizer_d = self.learner.configure_optimizers()
        self.task = fit.scenario.tasks[0]
        self.steps_per_epoch = fit.data.steps_per_epoch_of(self.task)
        self.done = 0

    def run(self, steps: int, skip: int = 5) -> float:
        """Train for `steps` steps; returns seconds per step after the first `skip`."""
        batches = self.batches()
        self.learner.train()
        for _ in range(skip):
            self.step(*next(batches))
        begun = time.perf_counter()
        for _ in range(steps - skip):
            self.step(*next(batches))
        return (time.perf_counter() - begun) / (steps - skip)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        fit, epoch = self.fit, 0
        while True:
            self._begin_epoch(epoch)
            loader = TaskLoader(
                fit.pool.real_set,
                self.task.classes,
                real_per_step=fit.cfg.batch_size * fit.learner.objective.critic_steps,
                num_steps=self.steps_per_epoch,
                seed=fit.cfg.seed,
                epoch=epoch,
            )
            for images, labels in loader:
                yield normalise(images), labels
            epoch += 1

    def _begin_epoch(self, epoch: int) -> None:
        learner = self.learner
        seed = (learner.seed * 1_000_003 + epoch) * 1_009
        torch.manual_seed(seed)
        self.context = Context(
            task=self.task,
            generator=learner.generator,
            snapshot=learner.snapshot,
            batch_size=learner.batch_size,
            latent_dim=learner.latent_dim,
            real=self.fit.pool.real_of(self.task.classes),
            counts=self.fit.pool.counts(self.task.classes),
            num_batches=self.task.epochs * self.steps_per_epoch * learner.objective.critic_steps,
            rng=torch.Generator().manual_seed(seed),
            device=torch.device("cpu"),
            seed=learner.seed,
        )
        learner.strategy.begin_task(self.context)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step of the generator and one of the discriminator."""
        learner, context = self.learner, self.context
        objective, strategy = learner.objective, learner.strategy
        factor = learner.lr_schedule(self.done / (self.task.epochs * self.steps_per_epoch))
        for optimizer, lr in ((self.optimizer_g, learner.lr), (self.optimizer_d, learner.lr_d)):
            optimizer.param_groups[0]["lr"] = lr * factor
        real = strategy.training_batch(images, labels, context)

        learner.discriminator.requires_grad_(False)
        pairs = learner.batch_size // 2 if objective.mode_seeking > 0 else 0
        asked = context.labels(strategy.asked_classes(self.task), learner.batch_size - pairs)
        asked = torch.cat([asked, asked[:pairs]])
        z = context.latent(learner.batch_size)
        fakes = learner.generator(z, asked)
        drawn = Drawn(z, asked, fakes)
        adversarial, classes = learner.discriminator(fakes, asked)
        loss = objective.generator_loss(Judged(adversarial, classes, asked), strategy.uses_classifier)[0]
        loss = real.weights.sum() * loss + objective.diversity_loss(fakes, z, pairs)[0]
        loss = loss + sum(strategy.generator_terms(context, drawn).values())
        self.optimizer_g.zero_grad()
        loss.backward()
        self.optimizer_g.step()
        learner.discriminator.requires_grad_(True)
        if learner.ema is not None:
            learner.ema.update_parameters(learner.generator)

        fakes = fakes.detach()
        judged = learner._judge(real, drawn._replace(images=fakes), context)
        weights = real.adversarial, real.weights
        loss = objective.discriminator_loss(*judged, *weights, strategy.uses_classifier)[0]
        if self.done % objective.penalty_every == 0:
            penalty, _ = objective.penalties(
                lambda points: learner.discriminator(points, real.labels)[0], real.images, fakes, context.rng
            )
            loss = loss + penalty
        self.optimizer_d.zero_grad()
        loss.backward()
        self.optimizer_d.step()
        self.done += 1
