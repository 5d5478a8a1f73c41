"""The losses, against formulas written out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny import objective_of
from torch import Tensor

from mergan.learners.losses import (
    bce_loss,
    gradient_penalty,
    hinge_fake,
    hinge_real,
    mode_seeking,
    non_saturating_fake,
    non_saturating_real,
    r1_penalty,
)
from mergan.learners.objectives import Objective
from mergan.system.errors import ConfigError

LOGITS = [-2.0, -0.5, 0.0, 1.0, 3.0]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def check(loss: Tensor, expected: list[float]) -> None:
    """One value per sample, as expected."""
    assert loss.shape == (len(LOGITS),)
    assert loss.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("target", [0.0, 0.9, 1.0])
def test_binary_cross_entropy(target: float) -> None:
    expected = [-target * math.log(sigmoid(x)) - (1 - target) * math.log(1 - sigmoid(x)) for x in LOGITS]
    check(bce_loss(torch.tensor(LOGITS), target), expected)


def test_non_saturating_losses() -> None:
    check(non_saturating_real(torch.tensor(LOGITS)), [-math.log(sigmoid(x)) for x in LOGITS])
    check(non_saturating_fake(torch.tensor(LOGITS)), [-math.log(1 - sigmoid(x)) for x in LOGITS])


def test_hinge_losses() -> None:
    check(hinge_real(torch.tensor(LOGITS)), [3.0, 1.5, 1.0, 0.0, 0.0])
    check(hinge_fake(torch.tensor(LOGITS)), [0.0, 0.5, 1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("objective", "real", "fake", "generator"),
    [
        (objective_of("wasserstein_gp"), [2, 0.5, 0, -1, -3], LOGITS, [2, 0.5, 0, -1, -3]),
        (objective_of("hinge"), [3, 1.5, 1, 0, 0], [0, 0.5, 1, 2, 4], [2, 0.5, 0, -1, -3]),
        (
            objective_of("non_saturating"),
            [-math.log(sigmoid(x)) for x in LOGITS],
            [-math.log(1 - sigmoid(x)) for x in LOGITS],
            [-math.log(sigmoid(x)) for x in LOGITS],
        ),
        (
            objective_of("bce", real_label=0.8),
            [-0.8 * math.log(sigmoid(x)) - 0.2 * math.log(1 - sigmoid(x)) for x in LOGITS],
            [-math.log(1 - sigmoid(x)) for x in LOGITS],
            [-math.log(sigmoid(x)) for x in LOGITS],  # smoothing is one-sided
        ),
    ],
)
def test_objectives_score_both_players(
    objective: Objective, real: list[float], fake: list[float], generator: list[float]
) -> None:
    logits = torch.tensor(LOGITS)
    check(objective.real(logits), real)
    check(objective.fake(logits), fake)
    check(objective.generator(logits), generator)


def test_mode_seeking_compares_distances_of_pictures_and_of_z() -> None:
    z, other_z = torch.zeros(2, 3), torch.tensor([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]])  # 2 apart on average
    images = torch.zeros(2, 1, 4, 4)
    assert mode_seeking(images, z, images + 0.5, other_z).item() == pytest.approx(4, rel=1e-4)
    assert mode_seeking(images, z, images + 0.25, other_z).item() == pytest.approx(8, rel=1e-4)
    twins = images.clone().requires_grad_(True)
    mode_seeking(twins, z, images, other_z).backward()
    assert twins.grad is not None and twins.grad.isfinite().all()


def test_diversity_is_judged_by_pairs_of_first_and_last_images() -> None:
    images, z = torch.arange(5.0)[:, None, None, None] / 8, torch.arange(5.0)[:, None]
    objective = objective_of("non_saturating", mode_seeking=0.5)
    loss, terms = objective.diversity_loss(images, z, pairs=2)  # (0, 3) and (1, 4)
    assert terms["g/mode_seeking"].item() == pytest.approx(3 / (3 / 8), rel=1e-4)
    assert loss.item() == pytest.approx(0.5 * 8, rel=1e-4)
    loss, terms = objective_of("non_saturating", mode_seeking=0.0).diversity_loss(images, z, pairs=0)
    assert loss.item() == 0 and terms == {}


def test_penalties_of_a_linear_critic() -> None:
    w = torch.linspace(-1, 2, 2 * 3 * 3).reshape(2, 3, 3)
    norm = w.square().sum().sqrt().item()

    def critic(images: Tensor) -> Tensor:
        return (images * w).sum(dim=(1, 2, 3))

    real, fake, mix = torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3), torch.rand(4)
    assert gradient_penalty(critic, real, fake, mix).item() == pytest.approx((norm - 1) ** 2, rel=1e-5)
    assert r1_penalty(critic, real).item() == pytest.approx(norm**2 / 2, rel=1e-5)


def test_penalties_are_taken_per_sample_at_the_right_points() -> None:
    real, fake = torch.full((2, 1, 1, 1), 1.0), torch.full((2, 1, 1, 1), 3.0)

    def critic(images: Tensor) -> Tensor:  # its gradient is the image itself
        return images.flatten(1).square().sum(dim=1) / 2

    # a quarter of the way from 1 to 3, and all of it: gradients 1.5 and 3
    penalty = gradient_penalty(critic, real, fake, torch.tensor([0.25, 1.0]))
    assert penalty.item() == pytest.approx((0.5**2 + 2**2) / 2)
    assert r1_penalty(critic, torch.tensor([1.0, 2.0])[:, None, None, None]).item() == pytest.approx(1.25)


@pytest.mark.parametrize("penalty", ["gradient_penalty", "r1"])
def test_penalties_train_the_critic(penalty: str) -> None:
    w = torch.tensor([3.0, 4.0], requires_grad=True)

    def critic(images: Tensor) -> Tensor:
        return images.flatten(1) @ w

    images = torch.zeros(5, 2, 1, 1)
    with torch.no_grad():  # a step may run without gradients around it
        r1_penalty(critic, images)
    if penalty == "r1":
        r1_penalty(critic, images).backward()
        expected = [3.0, 4.0]  # d/dw |w|^2 / 2
    else:
        gradient_penalty(critic, images, images, torch.rand(5)).backward()
        expected = [2 * 4 * 3 / 5, 2 * 4 * 4 / 5]  # d/dw (|w| - 1)^2 with |w| = 5
    assert w.grad is not None
    assert w.grad.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lambda_cls_g": -1.0},
        {"lambda_cls_d": float("nan")},
        {"lambda_cls_fake": float("inf")},
        {"gradient_penalty": -0.1},
        {"r1": "much"},
        {"penalty_every": 0},
        {"scale_g": -1},
        {"scale_d": float("nan")},
        {"critic_steps": 0},
        {"critic_steps": 1.5},
    ],
)
@pytest.mark.parametrize("kind", ["bce", "non_saturating", "hinge", "wasserstein_gp"])
def test_weights_out_of_range_are_refused_by_name(kind: str, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"objective\.{name}="):
        objective_of(kind, **wrong)


@pytest.mark.parametrize("label", [0.5, 1.1, float("nan")])
def test_real_label_out_of_range_is_refused(label: float) -> None:
    with pytest.raises(ConfigError, match=r"objective\.real_label="):
        objective_of("bce", real_label=label)
