"""The conditional GAN: update steps of the generator and the discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mergan.config.ranges import Positive
from mergan.learners.augmentation import Augmentation
from mergan.learners.base import ContinualLearner
from mergan.learners.objectives import Judged, Objective
from mergan.learners.readings import Terms, class_accuracy
from mergan.learners.updates import Trained
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Asked, Context, Drawn, Strategy, TrainingBatch
from mergan.system import whole_batch
from mergan.system.errors import ConfigError


class ACGAN(ContinualLearner):
    """An auxiliary classifier GAN (Odena et al. 2017, arXiv 1610.09585).

    A step updates the generator once, then the discriminator `objective.critic_steps` times:

        L_G = w * (adv_G + lambda_cls * CE(C(x), c)) + MS + terms of the strategy,   x = G(z, c)
        L_D = sum_i w_i (adv_real + lambda_cls * CE(C(x_i), c_i)) + w * adv_fake + gradient penalties

    The strategy provides the images x_i and the weights w_i, which sum to w. The generated images have the
    same total weight. mergan.learners.objectives lists all constants. The first discriminator update sees
    the images that the generator was just updated on. The discriminator sees all images augmented
    (mergan.learners.augmentation), also where its gradients are penalised.

    Args:
        generator, discriminator: see mergan.networks for the contract of the pair.
        objective: the adversarial losses and their weights.
        augmentation: what changes the images before the discriminator sees them.
        strategy, scenario: see ContinualLearner.
        lr: Adam's learning rate for the generator.
        lr_d: Adam's learning rate for the discriminator; null: `lr`.
        lr_scale: factor on both.
        renew_discriminator: reset the discriminator to its initial weights when a task begins.
        **shared: the other arguments of ContinualLearner.

    Raises:
        ConfigError: mode seeking compares images, but the batch size is 1.
    """

    offers = frozenset({"loss_on", "discriminator"})

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        augmentation: Augmentation,
        strategy: Strategy,
        scenario: Scenario,
        *,
        lr: Positive,
        lr_d: Positive | None,
        renew_discriminator: bool,
        lr_scale: float = 1.0,
        **shared: Any,
    ) -> None:
        super().__init__(generator, strategy, scenario, lr=lr, lr_scale=lr_scale, **shared)
        if self.batch_size < 2 and objective.mode_seeking > 0:
            raise ConfigError(
                f"batch_size={self.batch_size}: objective.mode_seeking compares images, use 2 or more"
            )
        self.discriminator = discriminator
        self.objective = objective
        self.augmentation = augmentation
        self.lr_d = self.lr if lr_d is None else lr_d * lr_scale
        self._initial_discriminator = (
            {key: value.clone() for key, value in discriminator.state_dict().items()}
            if renew_discriminator
            else None
        )

    def trained(self) -> dict[str, Trained]:
        return {"g": Trained([self.generator], self.lr), "d": Trained([self.discriminator], self.lr_d)}

    @property
    def critic(self) -> nn.Module:
        return self.discriminator

    def loss_on(self, name: str, batch: TrainingBatch, context: Context) -> Tensor:
        """The adversarial and classifier terms of "g" or "d"; G draws the classes of the batch."""
        classify = self.strategy.uses_classifier
        z = context.latent(len(batch.labels))
        if name == "g":
            drawn = Drawn(z, batch.labels, context.draw(z, batch.labels))
            outputs = self._discriminate(drawn.images, drawn.labels, context)
            return self.objective.generator_loss(Judged(*outputs, drawn.labels), classify)[0]
        with torch.no_grad():
            drawn = Drawn(z, batch.labels, self.generator(z, batch.labels))
        real, fake = self._judge(batch, drawn, context)
        return self.objective.discriminator_loss(real, fake, batch.adversarial, batch.weights, classify)[0]

    @property
    def batches_per_step(self) -> int:
        return self.objective.critic_steps

    @property
    def compilable(self) -> list[nn.Module]:
        """Gradient penalties differentiate the discriminator twice, which compiled code does not support."""
        once = [] if self.objective.penalises_gradients else [self.discriminator]
        return [*super().compilable, *once]

    @property
    def _learns_classes(self) -> bool:
        """Whether the discriminator's classifier is trained; otherwise its accuracy means nothing."""
        return self.strategy.uses_classifier and self.objective.lambda_cls_d > 0

    def prepare_task(self, task: Task) -> None:
        if self._initial_discriminator is not None:
            self.discriminator.load_state_dict(self._initial_discriminator)

    def step(self, images: Tensor, labels: Tensor, context: Context) -> Terms:
        """Update the generator once and the discriminator `critic_steps` times."""
        count = self.objective.critic_steps
        batches = self._batches(images, labels, context)
        batch = next(batches)
        drawn, terms = self._update_generator(whole_batch.mean(batch.adversarial.sum()), context)
        for index in range(count):
            if index > 0:
                batch = next(batches)
                drawn = self._draw(context)
            # derived from the number of G steps, which the checkpoint stores
            number = (self.global_step - 1) * count + index
            terms |= self._update_discriminator(
                batch, drawn, number % self.objective.penalty_every == 0, context
            )
        return terms

    def _batches(self, images: Tensor, labels: Tensor, context: Context) -> Iterator[TrainingBatch]:
        """What the strategy makes of the real images for each of the discriminator's updates."""
        count, real = self.objective.critic_steps, context.real_images
        parts = zip(images.tensor_split(count), labels.tensor_split(count), strict=True)
        for index, part in enumerate(parts):
            if real is not None:
                context.real_images = (
                    real + count - 1 - index
                ) // count  # those of all processes split alike
            yield self.strategy.training_batch(*part, context)

    # ------------------------------------------------------------------ generator: min L_G

    def _update_generator(self, total: Tensor, context: Context) -> tuple[Drawn, Terms]:
        """Return the generated batch, detached, and the losses."""
        self.discriminator.requires_grad_(False)
        (labels, shares), pairs = self._asked(context)
        z = context.latent(len(labels))
        drawn = Drawn(z, labels, context.draw(z, labels), shares)
        adversarial, class_logits = self._discriminate(drawn.images, labels, context)
        loss, terms = self.objective.generator_loss(
            Judged(adversarial, class_logits, labels, shares), self.strategy.uses_classifier
        )
        penalty, of_diversity = self.objective.diversity_loss(drawn.images, z, pairs)
        loss, terms = total * loss + penalty, terms | of_diversity
        for name, term in self.strategy.generator_terms(context, drawn).items():
            terms[f"g/{name}"] = term
            loss = loss + term
        terms |= self.minimise("g", loss)
        self.discriminator.requires_grad_(True)
        if self._learns_classes:
            terms["class_accuracy/fake"] = class_accuracy(class_logits, labels)
        return drawn._replace(images=drawn.images.detach()), terms

    def _asked(self, context: Context) -> tuple[Asked, int]:
        """What the generator's update draws, and the number of pairs in it.

        If the objective compares images of one class, the last B // 2 labels repeat the first B // 2.
        """
        pairs = self.batch_size // 2 if self.objective.mode_seeking > 0 else 0
        labels, shares = self.strategy.asked(context, self.batch_size - pairs)
        if shares is not None:
            shares = torch.cat([shares, shares[:pairs]])
            shares = shares / whole_batch.mean(shares.sum())
        return Asked(torch.cat([labels, labels[:pairs]]), shares), pairs

    @torch.no_grad()
    def _draw(self, context: Context) -> Drawn:
        """Generate a batch without gradients."""
        labels, shares = self.strategy.asked(context, self.batch_size)
        z = context.latent(len(labels))
        return Drawn(z, labels, self.generator(z, labels), shares)

    # ------------------------------------------------------------------ discriminator: min L_D

    def _update_discriminator(
        self, batch: TrainingBatch, drawn: Drawn, penalise: bool, context: Context
    ) -> Terms:
        real, fake = self._judge(batch, drawn, context)
        loss, terms = self.objective.discriminator_loss(
            real, fake, batch.adversarial, batch.weights, self.strategy.uses_classifier
        )
        count = batch.regularised
        if penalise and count > 0:
            labels = batch.labels[:count]
            penalty, of_gradients = self.objective.penalties(
                lambda points: self._discriminate(points, labels, context)[0],
                batch.images[:count],
                drawn.images[:count],
                context.rng,
            )
            loss, terms = loss + penalty, terms | of_gradients
        terms |= self.minimise("d", loss)
        if self._learns_classes:
            terms["class_accuracy/real"] = class_accuracy(real.classes, batch.labels)
        return terms

    def _judge(self, batch: TrainingBatch, drawn: Drawn, context: Context) -> tuple[Judged, Judged]:
        """The discriminator's outputs for both batches, in one pass if samples are independent."""
        context.costs.images["d"] += len(batch.images) + len(drawn.images)

        def judge(images: Tensor, labels: Tensor) -> Judged:
            adversarial, classes = self._discriminate(images, labels, context)
            return Judged(adversarial, classes, labels)

        if getattr(self.discriminator, "sample_independent", False):
            both = judge(torch.cat([batch.images, drawn.images]), torch.cat([batch.labels, drawn.labels]))
            real, fake = both.split(len(batch.images))
        else:
            real, fake = judge(batch.images, batch.labels), judge(drawn.images, drawn.labels)
        return real, fake._replace(shares=drawn.shares)

    def _discriminate(self, images: Tensor, labels: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """The discriminator's outputs for augmented images: adversarial (B,), classes (B, num_classes)."""
        outputs: tuple[Tensor, Tensor] = self.discriminator(self.augmentation(images, context.rng), labels)
        return outputs
