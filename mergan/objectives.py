"""Adversarial losses and gradient penalties as pure functions, and the objectives that weigh them.

Every loss takes adversarial logits (B,) and returns one value per sample (B,).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mergan.errors import ConfigError

Critic = Callable[[Tensor], Tensor]  # images (B, C, S, S) -> adversarial logits (B,)


def bce_loss(logits: Tensor, target: float) -> Tensor:
    """Binary cross entropy of the logits with one target in [0, 1] for all samples."""
    targets = torch.full_like(logits, target)
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def non_saturating_real(logits: Tensor) -> Tensor:
    """-log D(x) with D = sigmoid(logits) (Goodfellow et al. 2014, arXiv 1406.2661)."""
    return nn.functional.softplus(-logits)


def non_saturating_fake(logits: Tensor) -> Tensor:
    """-log(1 - D(x)); the generator minimises -log D(x) instead, i.e. `non_saturating_real`."""
    return nn.functional.softplus(logits)


def hinge_real(logits: Tensor) -> Tensor:
    """max(0, 1 - D(x)) (Lim & Ye 2017, arXiv 1705.02894)."""
    return torch.relu(1 - logits)


def hinge_fake(logits: Tensor) -> Tensor:
    """max(0, 1 + D(x))."""
    return torch.relu(1 + logits)


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """(||grad D(x)||_2 - 1)^2 at points between real and generated images, averaged.

    Gulrajani et al. 2017, arXiv 1704.00028, eq. 3.

    Args:
        critic: maps images to adversarial logits.
        real: images (B, C, S, S).
        fake: generated images (B, C, S, S).
        mix: share of the generated image at each point, (B,) in [0, 1].
    """
    points = torch.lerp(real, fake, mix[:, None, None, None]).detach().requires_grad_(True)
    norms = _input_gradient(critic, points).flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def r1_penalty(critic: Critic, real: Tensor) -> Tensor:
    """||grad D(x)||_2^2 / 2 at real images, averaged (Mescheder et al. 2018, arXiv 1801.04406, eq. 9)."""
    points = real.detach().requires_grad_(True)
    return _input_gradient(critic, points).flatten(1).square().sum(dim=1).mean() / 2


def _input_gradient(critic: Critic, points: Tensor) -> Tensor:
    with torch.enable_grad():
        total = critic(points).sum()
        (gradient,) = torch.autograd.grad(total, points, create_graph=True)
    return gradient


class Objective(ABC):
    """How discriminator and generator are scored; all terms are averages over the batch.

        L_D = scale_d * (adv_real + adv_fake + lambda_cls_d * CE(C(x_real), c)
              + lambda_cls_fake * CE(C(G(z, c)), c)) + gradient_penalty * GP + r1 * R1
        L_G = scale_g * (adv_G + lambda_cls_g * CE(C(G(z, c)), c)) + terms of the strategy

    Args:
        lambda_cls_g: weight of the classifier loss in the generator's step.
        lambda_cls_d: weight of the classifier loss on real images in the discriminator's step.
        lambda_cls_fake: the same on generated images (V2 trains its classifier on both).
        gradient_penalty: weight of the penalty on gradients between real and fake (WGAN-GP).
        r1: weight of the penalty on gradients at real images (gamma of Mescheder et al.).
        critic_steps: discriminator steps per generator step.
        scale_g: factor on the whole of the generator's loss (V2: 0.5).
        scale_d: factor on the adversarial and classifier terms of the discriminator (V2: 0.25).

    Raises:
        ConfigError: a negative weight or fewer than one critic step.
    """

    def __init__(
        self,
        lambda_cls_g: float = 1.0,
        lambda_cls_d: float = 1.0,
        lambda_cls_fake: float = 0.0,
        gradient_penalty: float = 0.0,
        r1: float = 0.0,
        critic_steps: int = 1,
        scale_g: float = 1.0,
        scale_d: float = 1.0,
    ) -> None:
        weights = {
            "lambda_cls_g": lambda_cls_g,
            "lambda_cls_d": lambda_cls_d,
            "lambda_cls_fake": lambda_cls_fake,
            "gradient_penalty": gradient_penalty,
            "r1": r1,
            "scale_g": scale_g,
            "scale_d": scale_d,
        }
        for name, value in weights.items():
            if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise ConfigError(f"objective.{name}={value}: use a number of 0 or more")
        if not isinstance(critic_steps, int) or critic_steps < 1:
            raise ConfigError(f"objective.critic_steps={critic_steps}: use a whole number of 1 or more")
        self.lambda_cls_g = lambda_cls_g
        self.lambda_cls_d = lambda_cls_d
        self.lambda_cls_fake = lambda_cls_fake
        self.gradient_penalty = gradient_penalty
        self.r1 = r1
        self.critic_steps = critic_steps
        self.scale_g = scale_g
        self.scale_d = scale_d

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
        real_label: target of real images; below 1 it is one-sided label smoothing. At 1 the loss is
            that of NonSaturating.
        **weights: see Objective.
    """

    def __init__(self, real_label: float = 1.0, **weights: float) -> None:
        super().__init__(**weights)  # type: ignore[arg-type]  # checked by the base
        if not 0.5 < real_label <= 1:
            raise ConfigError(f"objective.real_label={real_label}: use a number above 0.5, at most 1")
        self.real_label = real_label

    def real(self, logits: Tensor) -> Tensor:
        return bce_loss(logits, self.real_label)

    def fake(self, logits: Tensor) -> Tensor:
        return bce_loss(logits, 0.0)

    def generator(self, logits: Tensor) -> Tensor:
        return bce_loss(logits, 1.0)


class NonSaturating(Objective):
    """The non-saturating loss of the original GAN, usually with R1 or spectral normalisation."""

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
