"""Objectives of discriminator and generator: adversarial losses, classifier losses and their weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Interval
from torch import Tensor, nn

from mergan.config.ranges import Count, NonNegative
from mergan.learners.losses import (
    Critic,
    bce_loss,
    gradient_penalty,
    hinge_fake,
    hinge_real,
    mode_seeking,
    non_saturating_fake,
    non_saturating_real,
    r1_penalty,
)
from mergan.system import whole_batch

Terms = dict[str, Tensor]  # parts of a loss, by the names they are logged under


class Judged(NamedTuple):
    """The outputs of a discriminator for a batch.

    Attributes:
        adversarial: logits (B,).
        classes: class logits (B, num_classes).
        labels: the true or requested classes (B,).
        shares: share of each image in the means over the batch (B,), with a sum of 1; None: equal shares.
    """

    adversarial: Tensor
    classes: Tensor
    labels: Tensor
    shares: Tensor | None = None

    def split(self, count: int) -> tuple[Judged, Judged]:
        """The outputs for the first `count` images and for the others, with equal shares."""
        adversarial, classes, labels = self.adversarial, self.classes, self.labels
        return (
            Judged(adversarial[:count], classes[:count], labels[:count]),
            Judged(adversarial[count:], classes[count:], labels[count:]),
        )

    def mean(self, values: Tensor) -> Tensor:
        """The mean of one value per image (B,)."""
        return values.mean() if self.shares is None else (self.shares * values).sum()

    def cross_entropy(self) -> Tensor:
        """The mean cross entropy of the class logits."""
        if self.shares is None:
            return nn.functional.cross_entropy(self.classes, self.labels)
        return self.mean(nn.functional.cross_entropy(self.classes, self.labels, reduction="none"))


class Objective(ABC):
    """The losses of discriminator and generator; all terms are averages over the batch.

        L_D = scale_d * (adv_real + adv_fake + lambda_cls_d * CE(C(x_real), c)
              + lambda_cls_fake * CE(C(G(z, c)), c)) + gradient_penalty * GP + r1 * R1
        L_G = scale_g * (adv_G + lambda_cls_g * CE(C(G(z, c)), c)) + mode_seeking * MS + terms of the strategy

    Args:
        lambda_cls_g: weight of the classifier loss in the generator's step.
        lambda_cls_d: weight of the classifier loss on real images in the discriminator's step.
        lambda_cls_fake: the same on generated images (V2 trains its classifier on both).
        mode_seeking: weight of the generator's penalty on images of a class that are too similar
            (Mao et al. 2019); above 0, the generator draws every class twice, with different z.
        gradient_penalty: weight of the penalty on gradients between real and fake (WGAN-GP).
        r1: weight of the penalty on gradients at real images (gamma of Mescheder et al.).
        penalty_every: apply the gradient penalties only in every n-th discriminator step, with n times
            their weight. The regularisation is nearly the same and takes less time ("lazy
            regularization", Karras et al. 2020, arXiv 1912.04958, section 3.1).
        critic_steps: discriminator steps per generator step.
        scale_g: factor on the whole generator loss (V2: 0.5).
        scale_d: factor on the adversarial and classifier terms of the discriminator (V2: 0.25).
    """

    def __init__(
        self,
        *,
        lambda_cls_g: NonNegative,
        lambda_cls_d: NonNegative,
        lambda_cls_fake: NonNegative,
        mode_seeking: NonNegative,
        gradient_penalty: NonNegative,
        r1: NonNegative,
        penalty_every: Count,
        critic_steps: Count,
        scale_g: NonNegative,
        scale_d: NonNegative,
    ) -> None:
        self.lambda_cls_g = lambda_cls_g
        self.lambda_cls_d = lambda_cls_d
        self.lambda_cls_fake = lambda_cls_fake
        self.mode_seeking = mode_seeking
        self.gradient_penalty = gradient_penalty
        self.r1 = r1
        self.penalty_every = penalty_every
        self.critic_steps = critic_steps
        self.scale_g = scale_g
        self.scale_d = scale_d

    def generator_loss(self, fake: Judged, classify: bool) -> tuple[Tensor, Terms]:
        """L_G without the strategy's terms.

        Args:
            fake: the discriminator's outputs for generated images.
            classify: False leaves the classifier terms out.

        Returns:
            The loss and its parts before weighting.
        """
        terms = {"g/adversarial": fake.mean(self.generator(fake.adversarial))}
        loss = terms["g/adversarial"]
        if classify and self.lambda_cls_g > 0:
            terms["g/classifier"] = fake.cross_entropy()
            loss = loss + self.lambda_cls_g * terms["g/classifier"]
        return self.scale_g * loss, terms

    def diversity_loss(self, images: Tensor, z: Tensor, pairs: int) -> tuple[Tensor, Terms]:
        """The weighted mode-seeking term, and the term before weighting. With weight 0: zero and no term.

        Args:
            images: G(z, c), (B, C, S, S).
            z: (B, latent_dim).
            pairs: the first and the last `pairs` images have the same classes in the same order.
        """
        if self.mode_seeking == 0:
            return images.new_zeros(()), {}
        first, last = slice(None, pairs), slice(len(images) - pairs, None)
        term = mode_seeking(images[first], z[first], images[last], z[last])
        return self.mode_seeking * term, {"g/mode_seeking": term}

    def discriminator_loss(
        self, real: Judged, fake: Judged, adversarial: Tensor, weights: Tensor, classify: bool
    ) -> tuple[Tensor, Terms]:
        """L_D without the gradient penalties.

        Args:
            real: the discriminator's outputs for real (and replayed) images.
            fake: its outputs for generated images.
            adversarial: (B,), weight of each real image; the generated images have the same total weight.
            weights: (B,), weight of each real image in the classifier's loss.
            classify: False leaves the classifier terms out.

        Returns:
            The loss and its parts before weighting.
        """
        total = whole_batch.mean(adversarial.sum())
        terms = {
            "d/real": (adversarial * self.real(real.adversarial)).sum(),
            "d/fake": total * fake.mean(self.fake(fake.adversarial)),
        }
        loss = terms["d/real"] + terms["d/fake"]
        if classify and self.lambda_cls_d > 0:
            entropy = nn.functional.cross_entropy(real.classes, real.labels, reduction="none")
            terms["d/classifier"] = (weights * entropy).sum()
            loss = loss + self.lambda_cls_d * terms["d/classifier"]
        if classify and self.lambda_cls_fake > 0:
            terms["d/classifier_fake"] = total * fake.cross_entropy()
            loss = loss + self.lambda_cls_fake * terms["d/classifier_fake"]
        return self.scale_d * loss, terms

    @property
    def penalises_gradients(self) -> bool:
        """Whether the discriminator's loss contains its gradients, so it is differentiated twice."""
        return self.gradient_penalty > 0 or self.r1 > 0

    def penalties(
        self, critic: Critic, real: Tensor, fake: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, Terms]:
        """The sum of the weighted gradient penalties, and each penalty before weighting.

        Args:
            critic: images (B, C, S, S) -> adversarial logits (B,).
            real: images (B, C, S, S).
            fake: the same number of generated images.
            rng: random numbers for the points between real and fake.
        """
        terms: Terms = {}
        loss = torch.zeros((), device=real.device)
        if self.gradient_penalty > 0:
            mix = torch.rand(whole_batch.total(len(real)), generator=rng, device=real.device)
            terms["d/gradient_penalty"] = gradient_penalty(critic, real, fake, whole_batch.own(mix))
            loss = loss + self.gradient_penalty * terms["d/gradient_penalty"]
        if self.r1 > 0:
            terms["d/r1"] = r1_penalty(critic, real)
            loss = loss + self.r1 * terms["d/r1"]
        return self.penalty_every * loss, terms

    @abstractmethod
    def real(self, logits: Tensor) -> Tensor:
        """The discriminator's loss on real images."""

    @abstractmethod
    def fake(self, logits: Tensor) -> Tensor:
        """The discriminator's loss on generated images."""

    @abstractmethod
    def generator(self, logits: Tensor) -> Tensor:
        """The generator's loss on its images."""


class BCE(Objective):
    """Binary cross entropy with target labels, V2's objective.

    Args:
        real_label: target of real images; below 1 it is one-sided label smoothing. At 1 the loss equals
            that of NonSaturating.
        **weights: see Objective.
    """

    def __init__(self, *, real_label: Annotated[float, Interval(gt=0.5, le=1)], **weights: Any) -> None:
        super().__init__(**weights)
        self.real_label = real_label

    def real(self, logits: Tensor) -> Tensor:
        return bce_loss(logits, self.real_label)

    def fake(self, logits: Tensor) -> Tensor:
        return bce_loss(logits, 0.0)

    def generator(self, logits: Tensor) -> Tensor:
        return bce_loss(logits, 1.0)


class NonSaturating(Objective):
    """The non-saturating loss of the original GAN, usually used with R1 or spectral normalisation."""

    def real(self, logits: Tensor) -> Tensor:
        return non_saturating_real(logits)

    def fake(self, logits: Tensor) -> Tensor:
        return non_saturating_fake(logits)

    def generator(self, logits: Tensor) -> Tensor:
        return non_saturating_real(logits)


class Hinge(Objective):
    """The hinge loss; the generator maximises the discriminator's logit."""

    def real(self, logits: Tensor) -> Tensor:
        return hinge_real(logits)

    def fake(self, logits: Tensor) -> Tensor:
        return hinge_fake(logits)

    def generator(self, logits: Tensor) -> Tensor:
        return -logits


class Wasserstein(Objective):
    """The Wasserstein critic; its Lipschitz bound comes from the gradient penalty."""

    def real(self, logits: Tensor) -> Tensor:
        return -logits

    def fake(self, logits: Tensor) -> Tensor:
        return logits

    def generator(self, logits: Tensor) -> Tensor:
        return -logits
