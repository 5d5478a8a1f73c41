"""Whole runs on a device that is not the CPU: nothing lies on the wrong device, and no step waits for it.

tests/elsewhere.py says which device that is on a machine without a GPU, and what it can show.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import elsewhere
import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch_fidelity import feature_extractor_inceptionv3 as theirs

from mergan.checkpoints import file as checkpoint
from mergan.data.image_set import ImageSet
from mergan.evaluation.features.inception import Inception
from mergan.evaluation.sampling import sample
from mergan.evaluation.training import train_classifier
from mergan.learners.averaging import MovingAverage
from mergan.networks.fast import thin
from mergan.networks.layers import class_batch_norm
from mergan.run import experiment, trained
from mergan.strategies import Context, Drawn, Strategy

Build = Callable[..., tiny.Run]
STREAM = ["epochs=1", "steps_per_epoch=4", "learner.log_every_n_steps=2"]
# what the recipes for grey and for colour images switch on, and the tiny configuration does not
RECIPE = [
    *("objective.r1=0.1", "objective.penalty_every=2", "objective.mode_seeking=0.1", "learner.ema=0.9"),
    *("augmentation=diffaugment", "augmentation.probability=0.5", "augmentation.cutout=0.2"),
]
COLOUR = ["data.channels=3", "network.generator.modulation=class_and_z", "network.generator.private_z=2"]
RUNS = {
    **{name: [f"strategy={name}", *RECIPE] for name in tiny.STRATEGIES},
    "ewc": ["strategy=ewc", "strategy.samples=2", *RECIPE],
    "mas": ["strategy=mas", "strategy.samples=2", *RECIPE],
    "ewc_seff": ["strategy=ewc_seff", "strategy.samples=2", *RECIPE],
    "live replays": ["strategy=joint_retrain", "strategy.mode=live", *RECIPE],
    "retrain_and_align": ["strategy=retrain_and_align", *COLOUR, *RECIPE],
    "resnet": ["strategy=finetune", "network=resnet", *COLOUR, "objective.r1=0.1"],
    "paper": ["strategy=replay_alignment", "objective=wasserstein_gp", "objective.critic_steps=2",
              "network.generator.norm=batch"],
    "V2": ["strategy=joint_retrain", "network=upsample", "objective=bce"],
    "trainer=gpu": ["trainer=gpu", *RECIPE,
                    "callbacks.acceleration.matmul_precision=highest"],
    "hinge": ["network.discriminator.spectral=true", "network.discriminator.projection=true",
              "objective=hinge"],
    "cvae": ["learner=cvae", "strategy=retrain_and_align"],
}  # fmt: skip


@pytest.fixture
def watch() -> Iterator[elsewhere.Watch]:
    """The other device."""
    with elsewhere.device() as found:
        yield found


class Steps(pl.Callback):
    """Where the CPU waited from the first step of an epoch to its last, and how often losses were read back.

    The first step brings the labels of the task to the device, once per epoch.
    """

    def __init__(self, watch: elsewhere.Watch) -> None:
        self.watch, self.waits, self.read_back = watch, list[str](), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        read = [wait for wait in self.watch.waits if wait.startswith("_to_copy") and "/readings.py:" in wait]
        if batch_idx > 0:
            self.waits += [wait for wait in self.watch.waits if wait not in read]
            self.read_back += len(read)
        self.watch.waits.clear()
        assert {value.device for value in pl_module.state_dict().values()} == {elsewhere.THERE}
        states = [state for optimizer in trainer.optimizers for state in optimizer.state.values()]
        assert {value.device for state in states for value in state.values()} == {elsewhere.THERE}


def fitted(build: Build, watch: elsewhere.Watch, *overrides: str) -> Steps:
    """What a run on the other device made the CPU wait for."""
    steps = Steps(watch)
    build(*STREAM, *overrides, "trainer.accelerator=elsewhere").fit(steps)
    return steps


@pytest.mark.parametrize("name", RUNS)
def test_no_step_waits_for_the_device_but_to_log(build: Build, watch: elsewhere.Watch, name: str) -> None:
    steps = fitted(build, watch, *RUNS[name])
    assert steps.waits == []
    tasks = 1 if name == "joint" else 2
    assert steps.read_back == 2 * tasks * (2 if name == "joint" else 1)


class Faulty(Strategy):
    """Does in every step what must not be done there."""

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        images, labels, device = drawn.images, drawn.labels, context.device
        for _, waits in WAITS:
            waits(images, labels)
        torch.tensor([0, 1], device=device)  # the last one of them
        mixed: list[Callable[[], Tensor]] = [
            lambda: images + torch.zeros(images.shape),
            lambda: torch.stack([images.sum(), torch.zeros(())]),
            lambda: torch.randn(2, generator=torch.Generator(), device=device),
            lambda: torch.randn(2, generator=torch.Generator(device)),
        ]
        for fails in mixed:
            with pytest.raises(RuntimeError, match=r"(both devices|by a generator on).*test_devices\.py"):
                fails()
        return {}


WAITS: list[tuple[str, Callable[[Tensor, Tensor], Any]]] = [
    ("_local_scalar_dense", lambda images, labels: images.sum().item()),
    ("_local_scalar_dense", lambda images, labels: bool((images > 0).any())),
    ("_to_copy", lambda images, labels: labels.tolist()),
    ("_to_copy", lambda images, labels: images.detach().cpu()),
    ("index", lambda images, labels: images[labels == 0]),
    ("index", lambda images, labels: images[[0, 1]]),
    ("nonzero", lambda images, labels: labels.nonzero()),
    ("_unique2", lambda images, labels: labels.unique()),
    ("isin", lambda images, labels: torch.isin(labels, labels)),
    ("_to_copy", lambda images, labels: images.new_tensor([0.0, 1.0])),
]


def test_the_test_finds_what_waits_and_what_lies_on_the_cpu(build: Build, watch: elsewhere.Watch) -> None:
    steps = fitted(build, watch, "strategy=finetune", "strategy._target_=test_devices.Faulty")
    wanted = [*(operation for operation, _ in WAITS), "_to_copy"]
    looked_at = 2 * 3  # steps; the first one of an epoch is left out
    assert [wait.split(",")[0].split()[0] for wait in steps.waits] == wanted * looked_at
    assert all("/test_devices.py:" in wait for wait in steps.waits)


def test_a_run_elsewhere_learns_what_it_learns_on_the_cpu(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    # caches of their own, so that both judges are trained
    words = [*RUNS["retrain_and_align"], *STREAM, "evaluation.features=[judge,pixels]"]
    here = experiment.run(compose(*words, f"cache_dir={tmp_path / 'a'}"), tmp_path / "here")
    with elsewhere.device():
        other = compose(*words, f"cache_dir={tmp_path / 'b'}", "trainer.accelerator=elsewhere")
        there = experiment.run(other, tmp_path / "there")
    assert set(here) == set(there)
    assert set(checkpoint.read(tmp_path / "there" / "checkpoints" / "last.ckpt")["state_dict"]) == set(
        checkpoint.read(tmp_path / "here" / "checkpoints" / "last.ckpt")["state_dict"]
    )
    losses = [
        [
            float(row[name])
            for row in tiny.csv_rows(tmp_path / where)
            for name in ("g/loss", "d/loss")
            if name in row
        ]
        for where in ("here", "there")
    ]
    assert len(losses[0]) == 2 * 2 * 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_judge_and_reverse_classifier_compute_on_the_device_of_the_run(
    build: Build, watch: elsewhere.Watch
) -> None:
    run = build("evaluation.features=[judge,random]", "trainer.accelerator=elsewhere")
    evaluator = run.evaluation.evaluator
    assert evaluator.judge.device == elsewhere.THERE
    space = evaluator.spaces["random"]
    assert next(space.network.parameters()).device == elsewhere.THERE
    assert space(torch.zeros(2, 1, 16, 16, dtype=torch.uint8)).device == elsewhere.HERE
    trained_on = []
    fresh = evaluator.fresh
    evaluator.fresh = lambda: trained_on.append(fresh()) or trained_on[-1]
    run.module.to(elsewhere.THERE)
    evaluator.reverse_accuracy(run.module.generate, [0, 1])
    assert trained_on[0].device == elsewhere.THERE


def test_training_a_classifier_waits_for_no_step(build: Build, watch: elsewhere.Watch) -> None:
    fresh = build().evaluation.evaluator.fresh
    images = ImageSet(np.zeros((40, 1, 16, 16), np.uint8), np.arange(40) % 4)
    waits = []
    for steps in (1, 4):
        watch.waits.clear()
        train_classifier(images, fresh, 0, augment=True, max_steps=steps, device=elsewhere.THERE)
        waits.append(len(watch.waits))
    assert waits[0] == waits[1]


@pytest.mark.parametrize("name", ["deep_generative_replay", "cvae"])
def test_a_checkpoint_is_sampled_on_another_device(build: Build, watch: elsewhere.Watch, name: str) -> None:
    folder = build(*STREAM, *RUNS[name], "trainer.accelerator=elsewhere").fit().folder
    generator = trained.load_generator(folder / "checkpoints" / "last.ckpt")
    images, labels = [], [0, 3]
    for device in (elsewhere.HERE, elsewhere.THERE):
        generator.network.to(device)
        generator.strategy.to(device)
        assert generator.device == device
        images.append(sample(generator, labels, 3, generator.latent_dim, seed=1)[0])
    assert torch.equal(*images)


def test_inception_computes_on_the_device_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: elsewhere.Watch
) -> None:
    class Untrained(theirs.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None:  # type: ignore[override]
            pass

    torch.save({}, tmp_path / "weights.pth")
    torch.manual_seed(0)
    state = Untrained(
        "x", ["2048"], feature_extractor_weights_path=str(tmp_path / "weights.pth")
    ).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    space = Inception(str(tmp_path / "weights.pth"), str(tmp_path))
    images = torch.randint(0, 256, (1, 1, 32, 32), dtype=torch.uint8)
    here = space(images)
    space.to(elsewhere.THERE)
    assert {value.device for value in space.network.state_dict().values()} == {elsewhere.THERE}
    assert torch.equal(space(images), here)


def test_the_moving_average_is_pytorchs_to_the_bit() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))  # with a buffer of whole numbers
    ours = MovingAverage(network, 0.9)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for step in range(6):
        network(torch.randn(2, 1, 5, 5))
        with torch.no_grad():
            network[0].weight.add_(torch.randn(()))
        if step == 3:  # as a resumed run
            state, ours = ours.state_dict(), MovingAverage(network, 0.9)
            ours.load_state_dict(state)
        ours.update_parameters(network)
        theirs.update_parameters(network)
        assert tiny.equal(ours.state_dict(), theirs.state_dict())


def test_class_batch_norm_normalises_the_samples_of_a_class_together() -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(9, 4, 3, 3), torch.tensor([5, 0, 5, 2, 2, 2, 0, 5, 7])
    normed = class_batch_norm(x, labels)
    for label in labels.unique():
        part = x[labels == label]
        plain = torch.nn.functional.batch_norm(part, None, None, training=True)
        torch.testing.assert_close(normed[labels == label], plain)


@pytest.mark.parametrize(
    "layer",
    [
        thin.ThinConvTranspose2d(4, 1, 4, 2, 1),
        thin.ThinInputConv2d(1, 4, 4, 2, 1),
        thin.ThinOutputConv2d(4, 1, 3, 1, 1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_thin_convolutions_are_the_device_s_own_elsewhere(
    watch: elsewhere.Watch, layer: nn.Conv2d | nn.ConvTranspose2d, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(2, layer.in_channels, 8, 8)
    here = layer(x.requires_grad_())
    monkeypatch.setattr(thin, "scatter_patches", None)  # made for CPUs
    there = copy.deepcopy(layer).to(elsewhere.THERE)(x.detach().to(elsewhere.THERE).requires_grad_())
    torch.testing.assert_close(there.detach().cpu(), here.detach())


REPRODUCED = """
import os, sys, tempfile, warnings
from pathlib import Path
import torch
sys.path.insert(0, "tests")
import tiny
from mergan.run import experiment, resources

def flags():
    return torch.are_deterministic_algorithms_enabled(), "CUBLAS_WORKSPACE_CONFIG" in os.environ

experiment.tune(tiny.compose(Path("cache"), "trainer.accelerator=cpu"))
assert flags() == (False, False)
resources.on_gpus = lambda trainer: True
experiment.tune(tiny.compose(Path("cache"), "+trainer.deterministic=false"))
assert flags() == (False, False)
experiment.tune(tiny.compose(Path("cache")))
assert flags() == (True, True) and torch.is_deterministic_algorithms_warn_only_enabled()
assert not torch.utils.deterministic.fill_uninitialized_memory
"""


def test_on_a_gpu_operations_are_asked_to_be_reproducible() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "CUBLAS_WORKSPACE_CONFIG"}
    subprocess.run([sys.executable, "-c", REPRODUCED], cwd=tiny.ROOT, env=environment, check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_two_runs_on_a_gpu_are_equal_to_the_bit(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    words = [
        *RUNS["retrain_and_align"],
        *STREAM,
        "trainer.accelerator=gpu",
        f"cache_dir={tmp_path / 'cache'}",
    ]
    figures = [experiment.run(compose(*words), tmp_path / name) for name in ("one", "two")]
    assert "reverse_accuracy" in figures[0]
    one, two = (
        checkpoint.read(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("one", "two")
    )
    assert tiny.equal(one, two)
