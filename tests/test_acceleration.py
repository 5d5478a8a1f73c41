"""The preset for GPUs, on a CPU: the same training, the same names of parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from omegaconf import DictConfig

from mergan.checkpoints import file as checkpoint
from mergan.config.instantiate import part
from mergan.run import experiment, trained
from mergan.system.errors import ConfigError

Compose = Callable[..., DictConfig]
PRESET = ["trainer=gpu", "trainer.accelerator=cpu"]
COMPILED = [*PRESET, "callbacks.acceleration.compile_networks=true"]


def test_without_a_gpu_the_preset_is_refused_in_one_line(compose: Compose, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match=r"trainer.*gpu"):
        experiment.run(compose("trainer=gpu", "trainer.accelerator=gpu"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_compiled_networks_in_another_order_train_alike(compose: Compose, tmp_path: Path) -> None:
    # every further size of a batch would be compiled again: everywhere 8, as in training
    sizes = ["callbacks.samples=null", "evaluation.samples_per_class=8", "evaluation.reverse_per_class=8"]
    stream = ["strategy=replay_alignment", "epochs=1", *sizes]
    for name, overrides in {"plain": stream, "fast": [*stream, *COMPILED]}.items():
        experiment.run(compose(*overrides), tmp_path / name)
    plain, fast = (
        [row for row in tiny.csv_rows(tmp_path / name) if "g/loss" in row] for name in ("plain", "fast")
    )
    assert len(plain) == len(fast) == 4
    for one, other in zip(plain, fast, strict=True):
        for term in ("g/loss", "d/loss", "g/gradient", "d/gradient"):
            assert float(one[term]) == pytest.approx(float(other[term]), rel=5e-2), term
    paths = [tmp_path / name / "checkpoints" / "last.ckpt" for name in ("plain", "fast")]
    names = [list(checkpoint.read(path)["state_dict"]) for path in paths]
    assert names[0] == names[1]
    assert trained.load_generator(paths[1]).seen == [0, 1, 2, 3]


def test_the_copies_of_the_generator_keep_their_weights_in_its_order(build: Callable[..., tiny.Run]) -> None:
    run = build("strategy=finetune", "learner.ema=0.9")
    acceleration = part("callbacks.acceleration", "trainer=gpu")
    acceleration.on_fit_start(run.trainer, run.module)
    generator, *copies = (
        [weight.stride() for weight in network.parameters()]
        for network in (run.module.generator, run.module.ema, run.module.snapshot)
    )
    assert copies == [generator, generator]
    weights = [weight for weight in run.module.generator.parameters() if weight.dim() == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize(("penalty", "compiled"), [("objective.r1=0.1", False), ("objective.r1=0.0", True)])
def test_a_discriminator_that_is_differentiated_twice_is_not_compiled(
    build: Callable[..., tiny.Run], penalty: str, compiled: bool
) -> None:
    run = build("strategy=finetune", penalty)
    acceleration = part("callbacks.acceleration", "trainer=gpu", channels_last=False, compile_networks=True)
    acceleration.on_fit_start(run.trainer, run.module)
    assert run.module.generator._compiled_call_impl is not None
    assert run.module.snapshot._compiled_call_impl is not None
    assert (run.module.discriminator._compiled_call_impl is not None) == compiled


def test_unknown_precision_is_refused(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"matmul_precision=low"):
        experiment.run(compose(*PRESET, "callbacks.acceleration.matmul_precision=low"), tmp_path)


def test_the_preset_stands_beside_the_other_callbacks(compose: Compose) -> None:
    cfg = compose(*PRESET)
    assert {"acceleration", "samples", "checkpoint", "progress"} <= set(cfg.callbacks)
    assert tiny.compose(Path("cache")).callbacks.get("acceleration") is None
