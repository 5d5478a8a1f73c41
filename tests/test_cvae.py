"""The variational autoencoder: its loss, its step, and that everything around a learner works with it too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from mergan.checkpoints import file as checkpoint
from mergan.config.instantiate import part
from mergan.learners.cvae import CVAE, Encoder, divergence_from_prior
from mergan.run import experiment
from mergan.run.trained import load_generator
from mergan.strategies import TrainingBatch
from mergan.system.errors import ConfigError

Compose = Callable[..., object]
LEARNER = "learner=cvae"


def learner(run: tiny.Run) -> CVAE:
    assert isinstance(run.module, CVAE)
    return run.module


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    own, prior = Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(5, 3), torch.ones(5, 3))
    assert torch.allclose(
        divergence_from_prior(mean, log_variance), kl_divergence(own, prior).sum(dim=1), atol=1e-5
    )


def test_a_step_descends_the_bound_that_is_documented(cache_dir: Path, tmp_path: Path) -> None:
    run = tiny.build(tiny.compose(cache_dir, LEARNER, "strategy=finetune", "learner.noise=0.5"), tmp_path)
    module = learner(run)
    context = tiny.context(run.scenario.tasks[0], generator=module.generator)
    nn.init.normal_(module.generator.log_scale.weight)
    images, labels = torch.rand(6, 1, 16, 16) * 2 - 1, torch.tensor([0, 1, 0, 1, 0, 1])
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    module.strategy.training_batch = lambda *_: TrainingBatch(images, labels, weights, 6)
    minimised: list[torch.Tensor] = []
    module.minimise = lambda name, loss: minimised.append(loss) or {}  # type: ignore[method-assign,func-returns-value]
    context.rng.manual_seed(3)
    terms = module.step(images, labels, context)

    mean, log_variance = module.encoder(images)
    posterior = Normal(mean, (log_variance / 2).exp())
    prior = Normal(module.generator.mean(labels), module.generator.log_scale(labels).exp())
    z = posterior.mean + posterior.stddev * torch.randn(mean.shape, generator=context.rng.manual_seed(3))
    pictures = module.generator.generator(z, labels)
    divergences = kl_divergence(posterior, prior).sum(dim=1)
    constant = Normal(0.0, 0.5).log_prob(torch.tensor(0.0))  # of the density, which the loss leaves out
    likelihoods = (Normal(pictures, 0.5).log_prob(images) - constant).flatten(1).sum(dim=1)
    expected = (weights * (divergences - likelihoods)).sum() / 256
    assert torch.allclose(minimised[0], expected, rtol=1e-4)
    assert set(terms) == {"g/reconstruction", "g/divergence"}


def test_what_is_drawn_comes_from_the_prior_of_the_class(cache_dir: Path, tmp_path: Path) -> None:
    run = tiny.build(tiny.compose(cache_dir, LEARNER, "strategy=finetune"), tmp_path)
    decoder = learner(run).generator
    nn.init.normal_(decoder.log_scale.weight)
    eps, labels = torch.randn(2, 8), torch.tensor([0, 3])
    z = decoder.mean.weight[labels] + decoder.log_scale.weight[labels].exp() * eps
    assert torch.equal(decoder(eps, labels), decoder.generator(z, labels))


def test_encoder_and_generator_learn_and_the_heads_of_the_discriminator_are_gone(
    cache_dir: Path, tmp_path: Path
) -> None:
    run = tiny.build(tiny.compose(cache_dir, LEARNER, "strategy=finetune"), tmp_path)
    module = learner(run)
    before = {"encoder": tiny.weights(module.encoder), "generator": tiny.weights(module.generator)}
    run.fit()
    for name, old in before.items():
        new = tiny.weights(getattr(module, name))
        assert any(not torch.equal(a, b) for a, b in zip(old, new, strict=True)), name
    assert not [key for key in module.state_dict() if "discriminator" in key or "adversarial" in key]
    assert run.trainer.global_step == 8


@pytest.mark.parametrize("network", ["dcgan", "upsample"])
@pytest.mark.parametrize("strategy", [name for name in tiny.STRATEGIES if name != "ewc_seff"])
def test_every_strategy_works(cache_dir: Path, tmp_path: Path, strategy: str, network: str) -> None:
    run = tiny.build(
        tiny.compose(cache_dir, LEARNER, f"strategy={strategy}", f"network={network}", "learner.ema=0.5"),
        tmp_path,
    ).fit()
    module, path = learner(run), tmp_path / "checkpoints" / "last.ckpt"
    names = {key for row in tiny.csv_rows(tmp_path) for key in row}
    assert {"g/reconstruction", "g/divergence", "g/loss", "lr/g"} <= names and "d/loss" not in names
    term = {"replay_alignment": "g/alignment", "retrain_and_align": "g/alignment"}.get(strategy)
    term = "g/importance" if strategy in ("ewc", "mas", "synaptic_intelligence") else term
    assert term is None or term in names
    loaded = load_generator(path)
    z, labels = torch.randn(3, 8), torch.tensor([0, 1, 1])
    assert torch.equal(loaded(z, labels), module.generate(z, labels))


def test_strategy_that_needs_a_discriminator_is_refused(cache_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^strategy: EWCSeff needs the discriminator .*use learner=acgan$"):
        tiny.build(tiny.compose(cache_dir, LEARNER, "strategy=ewc_seff"), tmp_path)


def test_replays_of_the_past_are_learned_from(cache_dir: Path, tmp_path: Path) -> None:
    """The second task of joint retraining decodes classes that only the snapshot can draw."""
    seen: list[set[int]] = []
    run = tiny.build(tiny.compose(cache_dir, LEARNER, "strategy=joint_retrain", "batch_size=16"), tmp_path)
    batch = run.module.strategy.training_batch

    def watched(*arguments: Any) -> TrainingBatch:
        made: TrainingBatch = batch(*arguments)
        seen.append(set(made.labels.tolist()))
        return made

    run.module.strategy.training_batch = watched
    run.fit()
    assert set.union(*seen[:4]) <= {0, 1} and set.union(*seen[4:]) == {0, 1, 2, 3}


@pytest.mark.parametrize("strategy", ["joint_retrain", "mas"])
def test_a_resumed_run_is_the_same_to_the_bit(cache_dir: Path, tmp_path: Path, strategy: str) -> None:
    settings = [LEARNER, f"strategy={strategy}", "learner.ema=0.9", "learner.reset_optimizers=false"]
    whole = experiment.run(tiny.compose(cache_dir, *settings), tmp_path / "whole")
    stopped = tiny.compose(cache_dir, *settings, "+callbacks.stop={_target_:tiny.StopAt,epoch:3}")
    with pytest.raises(KeyboardInterrupt):
        experiment.run(stopped, tmp_path / "cut")
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    resumed = experiment.run(tiny.compose(cache_dir, *settings, f"ckpt_path={last}"), tmp_path / "cut")
    assert tiny.untimed(resumed) == tiny.untimed(whole)
    own, other = (
        checkpoint.read(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("cut", "whole")
    )
    assert tiny.equal(own, other)


def test_new_classes_can_be_learned_after_init_from(cache_dir: Path, tmp_path: Path) -> None:
    first = [LEARNER, "strategy=joint", "scenario.tasks=[[0,1]]", "epochs=1", "data.num_classes=4"]
    experiment.run(tiny.compose(cache_dir, *first), tmp_path / "old")
    path = tmp_path / "old" / "checkpoints" / "last.ckpt"
    more = [LEARNER, "strategy=joint_retrain", "scenario.tasks=[[2],[3]]", "epochs=1", f"init_from={path}"]
    experiment.run(tiny.compose(cache_dir, *more), tmp_path / "new")
    own = checkpoint.read(tmp_path / "new" / "checkpoints" / "last.ckpt")["mergan"]
    assert (own["known"], own["seen"]) == ([0, 1], [0, 1, 2, 3])


class Trunkless(nn.Module):
    """A discriminator by the contract of the acGAN alone."""

    def __init__(self, num_classes: int, channels: int, image_size: int) -> None:
        super().__init__()
        self.heads = nn.Linear(channels * image_size**2, 1 + num_classes)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        heads = self.heads(images.flatten(1))
        return heads[:, 0], heads[:, 1:]


def test_a_discriminator_without_a_trunk_is_refused(cache_dir: Path, tmp_path: Path) -> None:
    without = [f"~network.discriminator.{key}" for key in ("width", "spectral", "projection")]
    cfg = tiny.compose(cache_dir, LEARNER, "network.discriminator._target_=test_cvae.Trunkless", *without)
    with pytest.raises(ConfigError, match=r"Trunkless has no trunk .*learner=cvae"):
        experiment.run(cfg, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_encoder_of_a_network_is_its_trunk_with_a_head_of_its_own() -> None:
    discriminator = part(
        "network.discriminator", "network=dcgan", num_classes=4, channels=1, image_size=16, width=4
    )
    mean, log_variance = Encoder(discriminator.trunk, discriminator.num_features, 8)(
        torch.zeros(2, 1, 16, 16)
    )
    assert mean.shape == log_variance.shape == (2, 8)
