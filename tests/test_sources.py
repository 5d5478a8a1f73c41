"""What the presets of the two sources need: their networks, batches, passes and margins."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from mergan.config.composition import node_of
from mergan.config.instantiate import part
from mergan.data.padded import Padded
from mergan.data.source import ArraySource, Split
from mergan.data.splits import first_of_each
from mergan.learners.objectives import Judged
from mergan.networks.memory_replay import BatchMomentsNorm, ClassMomentsNorm
from mergan.networks.plain import plain_form
from mergan.run import experiment
from mergan.strategies.batch_per_class_alignment import BatchPerClassAlignment
from mergan.strategies.batch_per_class_retrain import BatchPerClassRetrain
from mergan.strategies.classwise_alignment import ClasswiseAlignment
from mergan.strategies.classwise_retrain import ClasswiseRetrain
from mergan.strategies.full_pass_retrain import FullPassRetrain
from mergan.strategies.joint_retrain import JointRetrain
from mergan.system.errors import ConfigError

GREY = {"num_classes": 10, "channels": 1, "image_size": 32}
LIVE: dict[str, Any] = {
    "mode": "live",
    "buffer_per_class": None,
    "max_per_class": None,
    "replay_per_step": None,
    "min_real_share": 0.0,
    "replay_weight": 1.0,
    "replay_spread": 1.0,
}


# ---------------------------------------------------------------- the paper's networks


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    """The paper's networks for MNIST."""
    torch.manual_seed(0)
    return (
        part("network.generator", "network=memory_replay", latent_dim=128, **GREY),
        part("network.discriminator", "network=memory_replay", **GREY),
    )


def test_the_networks_have_the_papers_numbers_of_parameters(pair: tuple[nn.Module, nn.Module]) -> None:
    counts = [sum(weight.numel() for weight in network.parameters()) for network in pair]
    assert counts == pytest.approx([525_569, 279_563], rel=0.01)


def test_the_layers_are_those_of_the_paper(pair: tuple[nn.Module, nn.Module]) -> None:
    generator, discriminator = pair
    images = generator(torch.randn(3, 128), torch.tensor([0, 1, 1]))
    assert images.shape == (3, 1, 32, 32) and images.abs().max() <= 1
    adversarial, classes = discriminator(images, torch.tensor([0, 1, 1]))
    assert (adversarial.shape, classes.shape) == ((3,), (3, 10))
    convolutions = [
        layer
        for network in pair
        for layer in network.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    assert len(convolutions) == 6 and all(layer.kernel_size == (5, 5) for layer in convolutions)


@pytest.mark.parametrize(
    ("name", "fans"),
    [("convs.0", 128 * 25 / 4 + 64 * 25), ("convs.2", 32 * 25 / 4 + 25), ("trunk.2", 32 * 25 + 64 * 25 / 4)],
)
def test_convolutions_are_he_uniform(pair: tuple[nn.Module, nn.Module], name: str, fans: float) -> None:
    layer: Any = pair[name.startswith("trunk")].get_submodule(name)
    bound = math.sqrt(3) * math.sqrt(4 / fans)
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert 0.95 * bound < layer.weight.abs().max() <= bound and not layer.bias.any()


def test_linear_layers_are_glorot_uniform(pair: tuple[nn.Module, nn.Module]) -> None:
    layer: Any = pair[0].get_submodule("project")
    bound = math.sqrt(6 / (128 + 2048))
    assert 0.99 * bound < layer.weight.abs().max() <= bound and not layer.bias.any()


def test_joint_moments_are_those_of_the_whole_mixed_batch() -> None:
    """Mixed, two classes keep their distance; each class alone is centred."""
    labels, z = torch.arange(8) % 2, torch.empty(8, 0)
    x = torch.randn(8, 3, 4, 4) + 5.0 * labels[:, None, None, None]
    joint, alone = BatchMomentsNorm(3, 2), ClassMomentsNorm(3, 2)
    mixed, apart = joint(x, labels, z), alone(x, labels, z)
    assert torch.allclose(mixed, nn.functional.batch_norm(x, None, None, training=True))
    assert mixed[labels == 1].mean() > 0.5
    assert apart[labels == 1].mean().abs() < 1e-5
    for _ in range(100):  # the running averages come close to the moments of a batch
        joint(x, labels, z)
    assert torch.allclose(joint.eval()(x[labels == 1], labels[labels == 1], z), mixed[labels == 1], atol=0.05)


@pytest.mark.parametrize("moments", ["class", "batch"])
def test_the_plain_form_draws_the_same(moments: str) -> None:
    shape = {"num_classes": 3, "channels": 3, "image_size": 16}
    generator = part(
        "network.generator", "network=memory_replay", latent_dim=8, width=4, moments=moments, **shape
    )
    z, labels = torch.randn(6, 8), torch.arange(6) % 3
    generator(z, labels)
    generator.eval()
    assert torch.allclose(plain_form(generator)(z, labels), generator(z, labels), atol=1e-5)


# ---------------------------------------------------------------- the paper's batches

TASK = tiny.tasks([0], [1], [2], [3])[3]  # three past classes; a batch has eight images


def test_retrain_draws_a_small_batch_of_every_past_class() -> None:
    strategy, context = ClasswiseRetrain(**LIVE), tiny.context(TASK)
    images, labels = torch.zeros(8, 1, 16, 16), torch.full((8,), 3)
    batch = strategy.training_batch(images, labels, context)
    assert batch.labels.tolist() == [3] * 8 + [0, 0, 1, 1, 2, 2]
    assert batch.weights.tolist() == pytest.approx([1 / 8] * 8 + [1 / 2] * 6)
    assert batch.regularised == 8  # no replay is in a gradient penalty
    asked, shares = strategy.asked(context, 8)
    assert asked.tolist() == batch.labels.tolist()  # and each real image meets a generated one of its class
    assert shares is not None and shares.sum() == pytest.approx(1)
    assert (4 * shares).tolist() == pytest.approx(batch.weights.tolist())


def test_retrain_has_the_task_alone_at_first() -> None:
    strategy, context = ClasswiseRetrain(**LIVE), tiny.context(tiny.tasks([0, 1])[0])
    batch = strategy.training_batch(torch.zeros(8, 1, 16, 16), torch.zeros(8, dtype=torch.int64), context)
    assert len(batch.images) == 8 and strategy.asked(context, 8).shares is None


def test_retrain_expects_what_joint_retrain_expects() -> None:
    """Both weigh the classes alike, whatever the task's number of classes and the weight of a past one."""
    task = tiny.tasks([0], [1], [2, 3])[2]
    settings = LIVE | {"replay_weight": 0.5, "replay_per_step": 6}
    images, labels = torch.zeros(8, 1, 16, 16), torch.tensor([2, 3] * 4)
    batches = [
        kind(**settings).training_batch(images, labels, tiny.context(task))
        for kind in (ClasswiseRetrain, JointRetrain)
    ]
    of_past = [batch.weights[8:].sum().item() for batch in batches]
    assert of_past == pytest.approx([0.5, 0.5])
    assert [batch.weights[:8].sum().item() for batch in batches] == pytest.approx([1.0, 1.0])


def test_shares_weigh_the_losses_of_generated_images() -> None:
    objective = tiny.objective_of("wasserstein_gp")
    adversarial, classes = torch.tensor([1.0, 2.0, 6.0]), torch.randn(3, 4)
    labels, shares = torch.tensor([3, 0, 0]), torch.tensor([0.5, 0.25, 0.25])
    twice = torch.tensor([0, 0, 1, 2])
    weighed = objective.generator_loss(Judged(adversarial, classes, labels, shares), True)[0]
    repeated = objective.generator_loss(Judged(adversarial[twice], classes[twice], labels[twice]), True)[0]
    assert weighed == pytest.approx(repeated.item())


def test_alignment_is_the_papers_sum_over_classes() -> None:
    """lambda / K times the sum over classes of half the sum of squares, of N // K images each."""
    scale, count, values = 1e-3, 8, 16 * 16
    settings = {"batch_size": None, "classifier": True, "replay_spread": 1.0, "edges": 0.0}
    strategy = ClasswiseAlignment(weight=scale * count * values / 2, divide_by_classes=True, **settings)
    context = tiny.context(TASK)
    loss = strategy.generator_terms(context, tiny.NOTHING)["alignment"]
    again = tiny.context(TASK)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    z = again.latent(6)
    squares = (again.generator(z, labels) - again.snapshot(z, labels)).square()
    assert loss.item() == pytest.approx(scale / 3 * squares.sum().item() / 2, rel=1e-4)


def test_alignment_on_lsun_is_the_papers_sum_over_whole_batches() -> None:
    """lambda times the sum over classes of half the sum of squares, of N images each."""
    scale, count, values = 1e-3, 8, 16 * 16
    settings = {"batch_size": None, "classifier": True, "replay_spread": 1.0, "edges": 0.0}
    strategy = BatchPerClassAlignment(weight=scale * count * values / 2, divide_by_classes=False, **settings)
    loss = strategy.generator_terms(tiny.context(TASK), tiny.NOTHING)["alignment"]
    again = tiny.context(TASK)
    labels = torch.arange(3).repeat_interleave(count)
    z = again.latent(len(labels))
    squares = (again.generator(z, labels) - again.snapshot(z, labels)).square()
    assert loss.item() == pytest.approx(scale * squares.sum().item() / 2, rel=1e-4)


def test_retrain_on_lsun_averages_whole_batches_of_the_past_classes() -> None:
    strategy, context = BatchPerClassRetrain(**LIVE), tiny.context(TASK)
    batch = strategy.training_batch(torch.zeros(8, 1, 16, 16), torch.full((8,), 3), context)
    assert batch.labels.tolist() == [3] * 8 + [0] * 8 + [1] * 8 + [2] * 8
    assert batch.weights.tolist() == pytest.approx([1 / 8] * 8 + [1 / 3 / 8] * 24)
    assert batch.regularised == 8
    asked, shares = strategy.asked(context, 8)
    assert asked.tolist() == batch.labels.tolist()
    assert shares is not None and (2 * shares).tolist() == pytest.approx(batch.weights.tolist())


def test_the_pair_for_lsun_has_the_channels_of_the_papers() -> None:
    shape = {"num_classes": 4, "channels": 3, "image_size": 64}
    pair = [
        part(f"network.{name}", "experiment=paper_lsun_joint", **shape)
        for name in ("generator", "discriminator")
    ]
    after = [
        [block.second.out_channels for block in blocks] for blocks in (pair[0].blocks, pair[1].trunk[:4])
    ]
    assert after == [[512, 256, 128, 64], [128, 256, 512, 512]]
    assert [sum(weights.numel() for weights in network.parameters()) for network in pair] == [
        8_293_379,
        7_322_629,
    ]


def test_another_mode_is_refused_with_its_remedy() -> None:
    with pytest.raises(ConfigError, match=r"strategy.mode=buffer: .*; use live"):
        ClasswiseRetrain(**LIVE | {"mode": "buffer"})
    with pytest.raises(ConfigError, match=r"strategy.mode=live: .*; use buffer"):
        FullPassRetrain(**LIVE)


def test_a_run_with_small_batches_of_each_class_is_whole(cache_dir: Path, tmp_path: Path) -> None:
    """Also where the objective compares pairs of generated images."""
    target = "strategy._target_=mergan.strategies.classwise_retrain.ClasswiseRetrain"
    words = [
        target,
        "strategy=joint_retrain",
        "strategy.mode=live",
        "scenario.classes_per_task=1",
        "epochs=1",
    ]
    more = ["objective=wasserstein_gp", "objective.critic_steps=2", "objective.mode_seeking=0.1"]
    words += ["network=memory_replay", "objective.gradient_penalty=10"]
    metrics = experiment.run(tiny.compose(cache_dir, *words, *more), tmp_path)
    assert "accuracy" in metrics


# ---------------------------------------------------------------- V2


def test_v2_has_its_initial_weights() -> None:
    torch.manual_seed(0)
    generator = part("network.generator", "network=upsample_normal", latent_dim=100, **GREY)
    discriminator = part("network.discriminator", "network=upsample_normal", **GREY)
    for layer in [*generator.modules(), *discriminator.modules()]:
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.2)
        if isinstance(layer, nn.BatchNorm2d):
            assert 0.01 < layer.weight.std() < 0.03 and 0.98 < layer.weight.mean() < 1.02
            assert not layer.bias.any()
    assert generator.get_submodule("embedding").weight.std().item() == pytest.approx(1, rel=0.1)


def test_every_replay_comes_once_per_pass() -> None:
    strategy, context = (
        FullPassRetrain(**LIVE | {"mode": "buffer", "buffer_per_class": 8}),
        tiny.context(TASK),
    )
    strategy.begin_task(context)
    strategy.buffer.images = torch.arange(24, dtype=torch.uint8)[:, None, None, None].expand(24, 1, 16, 16)

    def drawn(batches: int) -> list[int]:
        real = torch.zeros(2, 1, 16, 16), torch.full((2,), 3)
        images = [strategy.training_batch(*real, context).images[2:, 0, 0, 0] for _ in range(batches)]
        return [round((value.item() + 1) * 127.5) for value in torch.cat(images)]

    first, second = drawn(4), drawn(4)
    assert sorted(first) == sorted(second) == list(range(24)) and first != second
    drawn(1)
    strategy.begin_task(context)  # the next epoch starts anew
    assert sorted(drawn(4)) == list(range(24))


def test_an_epoch_of_v2_passes_over_images_and_replays(cache_dir: Path, tmp_path: Path) -> None:
    """Two classes of 20 images and as many replays: 40 images in the first task, 80 in the second."""
    target = "strategy._target_=mergan.strategies.full_pass_retrain.FullPassRetrain"
    caps = ["strategy.max_per_class=20", "strategy.buffer_per_class=20", "steps_per_epoch=null", "epochs=1"]
    run = tiny.build(tiny.compose(cache_dir, target, *caps), tmp_path)
    assert [run.data.steps_per_epoch_of(task) for task in run.scenario.tasks] == [5, 10]
    labels = run.data.pool.train_set.labels
    first = np.concatenate([run.data.pool.train_set.images[labels == label][:20] for label in range(4)])
    kept = run.data.pool.real_set
    assert (kept.take(np.argsort(kept.labels, kind="stable"))[0] == first).all()


def test_the_first_images_of_each_class() -> None:
    assert first_of_each(np.array([1, 0, 1, 1, 0, 2]), 2).tolist() == [0, 1, 2, 4, 5]


# ---------------------------------------------------------------- the margin


class Digits(ArraySource):
    """Six grey images of 28x27 pixels."""

    class_names = ["0"]  # type: ignore[assignment]

    def prepare(self) -> None:
        pass

    def fingerprint(self) -> str:
        return "digits"

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.random.default_rng(0).integers(1, 256, (6, 1, 28, 27), dtype=np.uint8)
        return pixels, np.zeros(6, dtype=np.int64)


class PaddedDigits(Padded, Digits):
    """The same with a margin."""


def test_padded_digits_keep_their_pixels() -> None:
    source, plain = PaddedDigits("digits", 1), Digits("digits", 1).read("train")[0]
    ((whole, labels),) = source.chunks("train", 32)
    assert whole.shape == (6, 1, 32, 32) and len(labels) == 6
    assert (whole[:, :, 2:-2, 2:-3] == plain).all()
    assert whole.sum(dtype=np.int64) == plain.sum(dtype=np.int64)  # the margin is black
    assert source.fingerprint() != "digits" and source.identity() == Digits("digits", 1).identity()


@pytest.mark.parametrize("data", ["mnist", "mnist_5k"])
def test_the_padded_sets_differ_in_nothing_else(data: str) -> None:
    padded, plain = (node_of("data", f"data={name}") for name in (f"{data}_padded", data))
    assert padded.source.pop("_target_") != plain.source.pop("_target_")
    assert padded == plain
