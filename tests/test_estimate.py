"""Sizes that no machine has are refused by name before anything is allocated; those of real runs are not."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mergan import config
from mergan.learners.acgan import ACGAN
from mergan.run import automatic, estimate, footprint, resources
from mergan.system.errors import ConfigError

Compose = Callable[..., DictConfig]


def estimated(cfg: DictConfig) -> None:
    estimate.check(automatic.filled(cfg), cfg.data.num_classes)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["batch_size=1000000000"], "batch_size"),
        (["network=upsample", "batch_size=1000000000"], "batch_size"),
        (["embedding_dim=1000000000"], "embedding_dim"),
        (["network.generator.width=1000000"], "network.generator.width"),
        (["network.generator.width=1000000000"], "network.generator.width"),
        (["network=upsample", "network.discriminator.width=1000000"], "network.discriminator.width"),
        (["evaluation.samples_per_class=1000000000"], "evaluation.samples_per_class"),
        (["evaluation.reverse_per_class=1000000000"], "evaluation.reverse_per_class"),
        (["callbacks.samples.columns=1000000000"], "callbacks.samples.columns"),
        (["strategy=joint_retrain", "strategy.buffer_per_class=1000000000"], "strategy.buffer_per_class"),
        (["strategy=experience_replay", "strategy.capacity=10000000000"], "strategy.capacity"),
        (["strategy=deep_generative_replay", "strategy.solver_width=1000000"], "strategy.solver_width"),
        (["strategy=ewc", "strategy.samples=10000000000"], "strategy.samples"),
        (["data.source.train_per_class=1000000000000"], "data.source.train_per_class"),
        (["data.source.test_per_class=1000000000000"], "data.source.test_per_class"),
        (["data.num_classes=2000000000", "scenario.tasks=[[0]]", "scenario.joined=true"], "data.num_classes"),
    ],
)  # fmt: skip
def test_absurd_sizes_are_refused_by_name(compose: Compose, overrides: list[str], key: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError) as caught:
        estimated(compose(*overrides))
    assert str(caught.value).startswith(f"{key}=")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB: nothing was allocated


PRESETS = [
    *(f"experiment={path.stem}" for path in sorted((tiny.ROOT / "conf" / "experiment").glob("*.yaml"))),
    "network=upsample", "debug=smoke", "evaluation.references_per_class=1000000000",
    "scenario.classes_per_task=1000000000",
]  # fmt: skip


def test_no_preset_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "inception.pth"
    weights.touch()  # which CLoG's presets need; nobody loads it here
    for preset in PRESETS:
        here = ["data=mnist_5k_photos"] if preset.startswith("experiment=clog_c10") else []  # for CIFAR-10
        cfg = config.compose(
            preset, *here, f"cache_dir={tmp_path}", f"evaluation.inception_weights={weights}"
        )
        config.check(cfg)
        estimated(cfg)


def test_smoke_is_estimated_within_its_limits(compose: Compose) -> None:
    estimated(compose("debug=smoke", "batch_size=1000000000"))


def test_the_classes_may_be_unknown(compose: Compose) -> None:
    cfg = automatic.filled(compose())
    estimate.check(cfg, None)
    cfg.batch_size = 10**9
    with pytest.raises(ConfigError, match=r"^batch_size=1000000000: needs about .* of memory, there are "):
        estimate.check(cfg, None)


def test_estimating_draws_no_random_numbers(compose: Compose) -> None:
    cfg = automatic.filled(compose())
    torch.manual_seed(1)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    estimated(cfg)
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("network", ["dcgan", "upsample", "resnet"])
def test_the_estimate_lies_below_what_is_held(compose: Compose, build: Any, network: str) -> None:
    overrides = [f"network={network}", "strategy=finetune", "learner.ema=0.9", "batch_size=64"]
    cfg = automatic.filled(compose(*overrides))
    module: ACGAN = build(*overrides).module
    size = footprint.training(cfg, 4)
    assert size is not None
    networks = sum(p.numel() * 4 for p in module.parameters())
    assert size > networks
    saved: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel() * tensor.element_size())
        return tensor

    z, labels = torch.randn(64, 8), torch.zeros(64, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module.discriminator(module.generator(z, labels), labels)
    moments = 3 * sum(
        p.numel() * 4 for net in (module.generator, module.discriminator) for p in net.parameters()
    )
    assert size <= networks + moments + sum(saved) + 64 * (8 * 4 + 8) + 100_000


class NeedsValues(nn.Module):
    """A generator that looks at its weights while it is built, which the meta device cannot show."""

    def __init__(self, latent_dim: int, num_classes: int, channels: int, image_size: int) -> None:
        super().__init__()
        self.scale = float(torch.ones(()).item())


def test_networks_that_need_values_are_not_refused(compose: Compose) -> None:
    name = f"{__name__}.NeedsValues"
    cfg = compose(f"network.generator._target_={name}", *tiny.BARE_GENERATOR)
    assert footprint.training(cfg, 4) is None
    estimated(cfg)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("network.generator._target_=torch.nn.Identity", ["network.generator", "(z, labels)"]),
        ("network.discriminator._target_=torch.nn.Identity", ["network.discriminator", "(images, labels)"]),
        ("+callbacks.x._target_=torch.nn.Identity", ["callbacks.x._target_=torch.nn.Identity", "a Callback"]),
        ("logger.csv._target_=torch.nn.Identity", ["logger.csv", "a Logger"]),
        ("trainer._target_=torch.nn.Identity", ["trainer._target_", "a Trainer"]),
        ("learner._target_=torch.nn.Identity", ["learner._target_", "a ContinualLearner"]),
        ("strategy._target_=mergan.learners.objectives.BCE", ["strategy._target_", "a Strategy"]),
        ("strategy._target_=mergan.strategies.ewc.Nope", ["mergan.strategies.ewc has no 'Nope'"]),
        ("objective._target_=mergan.learners.objectives", ["neither a class nor a function"]),
        ("evaluation.metrics.kid._target_=torch.nn.Identity", ["evaluation.metrics.kid", "a Metric"]),
        ("trainer.accelerator=abc", ["trainer.accelerator=abc", "cpu"]),
        ("trainer.devices=${embedding_dim}00", ["trainer.devices=800"]),
    ],
)
def test_parts_of_another_kind_are_refused(compose: Compose, override: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        estimated(compose(override))
    for part in parts:
        assert part in str(caught.value)


def test_samples_beyond_memory_are_refused() -> None:
    estimate.check_samples(1000, 10, 3, 64)
    with pytest.raises(ConfigError, match=r"^per_class=2000000000: needs about 20 TB of memory"):
        estimate.check_samples(2 * 10**9, 10, 1, 32)


def test_bytes_are_shown_to_be_read() -> None:
    shown = {1: "1 bytes", 21e9: "21 GB", 1.5e12: "1.5 TB", 464e12: "464 TB", 1e30: "1000000000000 EB"}
    assert {size: resources.shown(size) for size in shown} == shown
    assert (resources.memory() or 1) > 0 and (resources.disk(Path("/nowhere/at/all")) or 1) > 0
