"""Adversarial losses and gradient penalties as pure functions.

The losses take adversarial logits (B,) and return one value per sample (B,).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mergan.system import whole_batch

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


def mode_seeking(images: Tensor, z: Tensor, others: Tensor, other_z: Tensor) -> Tensor:
    """mean |z - z'| / mean |G(z, c) - G(z', c)|: large if different z give nearly the same image.

    This is the inverse of the ratio that the generator maximises in Mao et al. 2019 (arXiv 1903.05628), and
    what their code minimises. Its gradient therefore fades as the images move apart. Several processes take
    the means together.

    Args:
        images: G(z, c), (B, C, S, S).
        z: (B, latent_dim).
        others: G(z', c), the same number of images of the same classes.
        other_z: z', (B, latent_dim).
    """
    # the added constant keeps the gradient finite for two equal images
    apart = whole_batch.mean((images - others).abs().mean())
    return whole_batch.mean((z - other_z).abs().mean()) / (apart + 1e-5)


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
