"""Retraining with alignment, experience replay and deep generative replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch
from omegaconf import DictConfig
from tiny import context, strategy_of, tasks
from torch import Tensor, nn

from mergan.checkpoints import file as checkpoint
from mergan.data import denormalise, normalise
from mergan.data.image_set import ImageSet
from mergan.learners.acgan import ACGAN
from mergan.learners.objectives import Judged
from mergan.networks.solver import Solver
from mergan.run import experiment, trained
from mergan.run.transfer import labels_here, transfer
from mergan.scenarios.base import Task
from mergan.strategies import Context, Drawn, TrainingBatch
from mergan.strategies.deep_generative_replay import DeepGenerativeReplay
from mergan.strategies.experience_replay import ExperienceReplay
from mergan.strategies.joint_retrain import JointRetrain
from mergan.system.errors import CheckpointError, ConfigError

Build = Callable[..., tiny.Run]
Compose = Callable[..., DictConfig]


def real(count: int, label: int) -> tuple[Tensor, Tensor]:
    return torch.full((count, 1, 16, 16), 0.123), torch.full((count,), label)


def pixels_of(images: Tensor) -> set[bytes]:
    """Which images (N, C, S, S), bytes or in [-1, 1], these are."""
    stored = images if images.dtype == torch.uint8 else denormalise(images)
    return {image.numpy().tobytes() for image in stored}


# ---------------------------------------------------------------- retrain_and_align


@pytest.mark.parametrize("mode", ["buffer", "live"])
def test_retrain_and_align_shows_what_joint_retraining_shows(mode: str) -> None:
    task = tasks([0, 1], [2])[1]

    def shown(strategy: JointRetrain) -> TrainingBatch:
        setting = context(task)
        strategy.begin_task(setting)
        return strategy.training_batch(*real(4, 2), setting)

    both = strategy_of("retrain_and_align", weight=3.0, mode=mode, replay_weight=0.5)
    retrained = strategy_of("joint_retrain", mode=mode, replay_weight=0.5)
    for mine, theirs in zip(vars(shown(both)).values(), vars(shown(retrained)).values(), strict=True):
        assert tiny.equal(mine, theirs)
    assert both.asked_classes(task) == (0, 1, 2)
    assert both.generator_terms(context(tasks([0])[0]), tiny.NOTHING) == {}


@pytest.mark.parametrize(
    ("divide", "spread", "edges"), [(True, 1.0, 0.0), (False, 1.0, 0.0), (False, 1.5, 0.0), (False, 1.0, 2.0)]
)
def test_retrain_and_align_holds_the_past_pictures_of_the_batch(
    divide: bool, spread: float, edges: float
) -> None:
    setting = context(tasks([0, 1], [2])[1])
    z, labels = setting.latent(5), torch.tensor([2, 0, 1, 2, 0])
    drawn = Drawn(z, labels, setting.generator(z, labels))
    own = {"weight": 3.0, "divide_by_classes": divide, "replay_spread": spread, "edges": edges}
    strategy = strategy_of("retrain_and_align", **own)
    value = strategy.generator_terms(setting, drawn)["alignment"]
    past = [1, 2, 4]
    difference = setting.generator(z[past], labels[past]) - setting.snapshot(spread * z[past], labels[past])
    steps = difference.diff(dim=2).square().mean() + difference.diff(dim=3).square().mean()
    expected = (3.0 / 2 if divide else 3.0) * (difference.square().mean() + edges * steps)
    torch.testing.assert_close(value, expected)
    assert value > 0


def test_retrain_and_align_pays_nothing_for_a_batch_of_new_classes() -> None:
    setting = context(tasks([0, 1], [2])[1])
    z, labels = setting.latent(4), torch.full((4,), 2)
    drawn = Drawn(z, labels, setting.generator(z, labels))
    assert strategy_of("retrain_and_align", weight=3.0).generator_terms(setting, drawn)["alignment"] == 0


def test_alignment_term_of_a_retrained_generator_is_logged(build: Build) -> None:
    run = build("strategy=retrain_and_align", "epochs=1", "steps_per_epoch=3", "lr=0.01").fit()
    run.trainer.loggers[0].save()
    rows = [row for row in tiny.csv_rows(run.folder) if "g/loss" in row]
    assert ["g/alignment" in row for row in rows] == [False] * 3 + [True] * 3
    first, *later = [float(row["g/alignment"]) for row in rows[3:]]
    assert first < min(later)  # the snapshot is the generator that the task begins with


# ---------------------------------------------------------------- rehearsed_alignment


def test_replays_reach_the_classifier_and_not_the_critic() -> None:
    setting = context(tasks([0, 1, 3], [2])[1])
    strategy = strategy_of("rehearsed_alignment", replay_per_step=6)
    batch = strategy.training_batch(*real(4, 2), setting)
    assert batch.labels[:4].eq(2).all() and set(batch.labels[4:].tolist()) <= {0, 1, 3}
    torch.testing.assert_close(batch.adversarial, torch.tensor([1 / 4] * 4 + [0.0] * 6))
    torch.testing.assert_close(batch.weights, torch.tensor([1 / 16] * 4 + [3 / 24] * 6))
    assert batch.regularised == 4  # the critic's gradients are penalised at real images only
    objective = tiny.objective_of("non_saturating", lambda_cls_d=0.5)
    outputs = Judged(torch.randn(10), torch.randn(10, 4), batch.labels)
    fake = Judged(torch.randn(4), torch.randn(4, 4), torch.full((4,), 2))
    loss, terms = objective.discriminator_loss(outputs, fake, batch.adversarial, batch.weights, True)
    other = outputs._replace(adversarial=torch.cat([outputs.adversarial[:4], torch.randn(6)]))
    assert objective.discriminator_loss(other, fake, batch.adversarial, batch.weights, True)[0] == loss
    entropy = nn.functional.cross_entropy(outputs.classes, outputs.labels, reduction="none")
    expected = entropy[:4].mean() / 4 + 3 / 4 * entropy[4:].mean()
    torch.testing.assert_close(terms["d/classifier"], expected)


def test_rehearsed_alignment_asks_and_aligns_as_replay_alignment() -> None:
    first, second = tasks([0, 1], [2])
    own = {"weight": 3.0, "batch_size": 5, "edges": 1.0}
    rehearsed, aligned = strategy_of("rehearsed_alignment", **own), strategy_of("replay_alignment", **own)
    assert rehearsed.asked_classes(second) == aligned.asked_classes(second) == (2,)
    one, other = (
        strategy.generator_terms(context(second), tiny.NOTHING)["alignment"]
        for strategy in (rehearsed, aligned)
    )
    assert one == other > 0
    assert rehearsed.training_batch(*real(4, 0), context(first)).adversarial.eq(1 / 4).all()


# ---------------------------------------------------------------- experience_replay


def remembering(capacity: int, *classes: list[int], **changes: Any) -> tuple[ExperienceReplay, list[Tensor]]:
    """A memory that has gone through a stream, and the labels it held after each task."""
    strategy = strategy_of("experience_replay", capacity=capacity)
    strategy.build(nn.Identity(), 4, 1, 16)
    labels = []
    for task in tasks(*classes):
        setting = context(task, **changes)
        strategy.begin_task(setting)
        strategy.end_task(setting)
        labels.append(strategy.labels.clone())
    return strategy, labels


def test_memory_is_bounded_and_shared_equally_by_the_classes_seen() -> None:
    strategy, labels = remembering(20, [2], [0, 3], [1])
    counts = [held[held >= 0].bincount(minlength=4).tolist() for held in labels]
    assert counts == [[0, 0, 20, 0], [6, 0, 6, 6], [5, 5, 5, 5]]
    assert strategy.images.shape == (20, 1, 16, 16) and strategy.images.dtype == torch.uint8


def test_memory_holds_real_images_of_the_class_drawn_at_random() -> None:
    strategy, _ = remembering(40, [2], [0, 3], [1])
    for task in tasks([2], [0, 3], [1]):
        for label in task.classes:
            available = tiny.real_images(task)
            images = torch.from_numpy(available.subset(available.indices_of([label])).images)
            held = pixels_of(strategy.images[strategy.labels == label])
            assert len(held) == 10 and held <= pixels_of(images)
            assert held != pixels_of(images[:10])
    other, _ = remembering(40, [2], [0, 3], [1], seed=1)
    same, _ = remembering(40, [2], [0, 3], [1], rng=torch.Generator().manual_seed(8))
    assert torch.equal(strategy.images, same.images)
    assert not torch.equal(strategy.images, other.images)


def test_images_that_make_room_never_come_back() -> None:
    early, _ = remembering(24, [2], [0])
    late, _ = remembering(24, [2], [0], [1])
    for label in (0, 2):
        assert pixels_of(late.images[late.labels == label]) < pixels_of(early.images[early.labels == label])


def test_small_classes_are_kept_whole() -> None:
    few = ImageSet(np.arange(3 * 256, dtype=np.uint8).reshape(3, 1, 16, 16), np.zeros(3, dtype=np.int64))
    strategy, _ = remembering(20, [0], real=few)
    assert (strategy.labels >= 0).sum() == 3
    assert torch.equal(strategy.images[:3].flatten(1).sort(0).values, torch.from_numpy(few.images).flatten(1))


def test_replays_come_from_the_memory_and_every_class_is_shown_as_often(build: Build) -> None:
    stream = ["scenario.tasks=[[2],[0,3],[1]]", "epochs=1", "steps_per_epoch=150"]
    run = build("strategy=experience_replay", "strategy.capacity=12", *stream)
    memory: dict[int, tuple[set[bytes], Tensor]] = {}
    shown: dict[int, list[Tensor]] = {}
    strategy = run.module.strategy
    assert isinstance(strategy, ExperienceReplay)
    original = strategy.training_batch

    def watching(images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        task = context.task
        if task.index not in memory:
            held = strategy.labels >= 0
            memory[task.index] = pixels_of(strategy.images[held]), strategy.labels[held].unique()
        batch = original(images, labels, context)
        replays = batch.images[len(images) :]
        if len(replays):
            assert pixels_of(replays) <= memory[task.index][0]
            assert set(batch.labels[len(labels) :].tolist()) <= set(task.past)
        shown.setdefault(task.index, []).append(batch.labels)
        return batch

    strategy.training_batch = watching  # type: ignore[method-assign]
    run.fit()
    assert [held.tolist() for _, held in memory.values()] == [[], [2], [0, 2, 3]]
    for index, classes in enumerate(([2], [0, 2, 3], [0, 1, 2, 3])):
        counts = torch.cat(shown[index]).bincount(minlength=4)
        assert counts.sum() == 8 * 150
        assert all(abs(int(counts[label]) * len(classes) / 1200 - 1) < 0.25 for label in classes)


def test_memory_goes_along_with_init_from(compose: Compose, tmp_path: Path) -> None:
    settings = ["strategy=experience_replay", "strategy.capacity=12", "epochs=1"]
    experiment.run(compose(*settings, "scenario.tasks=[[3],[0]]"), tmp_path / "old")
    path = tmp_path / "old" / "checkpoints" / "last.ckpt"
    old = checkpoint.read(path)
    run = tiny.build(compose(*settings, "data.num_classes=5", "strategy.capacity=5"), tmp_path / "new")
    network = old["mergan"]["config"]["network"]
    transfer(run.module, old, path, labels_here(old, path, network, ["x", "3", "2", "1", "0"]))
    strategy = run.module.strategy
    assert isinstance(strategy, ExperienceReplay)
    assert strategy.labels.tolist() == [1, 1, 4, 4, -1]  # the names of 3 and 0 in the new data set
    before = {label: old["state_dict"]["strategy.labels"] == label for label in (3, 0)}
    for label, was in ((1, 3), (4, 0)):
        held = pixels_of(strategy.images[strategy.labels == label])
        assert held <= pixels_of(old["state_dict"]["strategy.images"][before[was]])


@pytest.mark.parametrize("strategy", ["experience_replay", "deep_generative_replay"])
def test_networks_alone_are_not_enough_for_some_strategies(
    compose: Compose, tmp_path: Path, strategy: str
) -> None:
    experiment.run(compose("strategy=finetune", "scenario.tasks=[[0]]", "epochs=1"), tmp_path / "old")
    path = tmp_path / "old" / "checkpoints" / "last.ckpt"
    cfg = compose(f"strategy={strategy}", f"init_from={path}", "scenario.tasks=[[1]]")
    with pytest.raises(CheckpointError, match=rf"init_from=.*use a checkpoint of strategy={strategy}"):
        experiment.run(cfg, tmp_path / "new")
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------- deep_generative_replay


class LabelWatcher(pl.Callback):
    """Collects the labels that generator, snapshot and discriminator are given in training."""

    def __init__(self) -> None:
        self.labels: dict[str, set[int]] = {"generator": set(), "snapshot": set(), "discriminator": set()}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ACGAN)
        for name, found in self.labels.items():
            network = getattr(pl_module, name)
            network.register_forward_pre_hook(lambda _, inputs, found=found: found.update(inputs[1].tolist()))


GENERATIVE = ["strategy=deep_generative_replay", "strategy.solver_steps=4"]


@pytest.mark.parametrize("others", [[], ["learner.ema=0.5", "network.discriminator.projection=true"]])
def test_generator_and_discriminator_never_learn_the_classes(build: Build, others: list[str]) -> None:
    run = build(*GENERATIVE, "scenario.tasks=[[3,2],[0],[1]]", "epochs=1", *others)
    watcher = LabelWatcher()
    run.fit(watcher)
    assert watcher.labels == {"generator": {3}, "snapshot": {3}, "discriminator": {3}}
    assert not [name for name in run.module.last_losses if "class" in name]


def test_replays_fill_up_the_batches_in_the_share_of_the_past(build: Build) -> None:
    run = build(*GENERATIVE, "scenario.tasks=[[0],[1],[2]]", "epochs=1", "steps_per_epoch=21")
    counts: dict[int, list[int]] = {}
    original = run.module.strategy.training_batch

    def watching(images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        batch = original(images, labels, context)
        assert len(batch.images) == 8 and torch.equal(batch.images[: len(images)], images)
        counts.setdefault(context.task.index, []).append(len(images))
        return batch

    run.module.strategy.training_batch = watching  # type: ignore[method-assign]
    run.fit()
    assert [sum(real) / 21 for real in counts.values()] == pytest.approx([8, 4, 8 / 3], abs=0.05)


def shades(task: Task, seed: int) -> ImageSet:
    """Images that tell their class by their brightness."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.array(task.classes), 30)
    noise = rng.integers(-20, 20, (len(labels), 1, 16, 16))
    return ImageSet((labels[:, None, None, None] * 60 + 40 + noise).astype(np.uint8), labels)


class Memories(nn.Module):
    """An unconditional generator of the first two classes' shades."""

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        shade = torch.where(z[:, 0] > 0, 40.0, 100.0) / 127.5 - 1
        return (shade[:, None] + 0.1 * torch.randn(16 * 16, generator=torch.Generator().manual_seed(3))).view(
            -1, 1, 16, 16
        )


def taught(*classes: list[int], snapshot: nn.Module | None = None) -> DeepGenerativeReplay:
    """A strategy whose solver has gone through a stream of shades."""
    torch.manual_seed(0)
    strategy = strategy_of(
        "deep_generative_replay", solver_width=4, solver_steps=60, solver_batch=16, solver_lr=1e-2
    )
    strategy.build(nn.Identity(), 4, 1, 16)
    for task in tasks(*classes):
        setting = context(
            task,
            real=shades(task, task.index),
            snapshot=Memories() if snapshot is None else snapshot,
            num_batches=200,
        )
        strategy.begin_task(setting)
        strategy.end_task(setting)
    return strategy


class Painted(nn.Module):
    """A generator that has forgotten all but one class."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.shade = (label * 60 + 40) / 127.5 - 1

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return torch.full((len(z), 1, 16, 16), self.shade)


def solved(strategy: DeepGenerativeReplay, label: int) -> float:
    """Share of a class's real images that the solver recognises."""
    images = torch.from_numpy(shades(tasks([label])[0], seed=9).images)
    return (strategy.solver(normalise(images)).argmax(dim=1) == label).float().mean().item()


def test_solver_learns_new_classes_and_keeps_old_ones_by_what_it_sees_in_replays() -> None:
    strategy = taught([0, 1], [2])
    assert min(solved(strategy, label) for label in range(3)) > 0.9
    partial = taught([0, 1], [2], snapshot=Painted(0))  # the generator has forgotten class 1
    assert min(solved(partial, 0), solved(partial, 2)) > 0.9
    assert solved(partial, 1) < 0.5


def test_solver_is_trained_the_same_whatever_was_drawn_before() -> None:
    first = taught([0, 1], [2])
    torch.seed()
    again = taught([0, 1], [2])
    assert tiny.equal(tiny.state(first.solver), tiny.state(again.solver))
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in again.parameters())


class Ramp(nn.Module):
    """Draws the shade of one of four classes, by the first number of z."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        self.images += len(z)
        label = (z[:, 0] > -0.7).float() + (z[:, 0] > 0) + (z[:, 0] > 0.7)
        return ((label * 60 + 40) / 127.5 - 1)[:, None, None, None].expand(-1, 1, 16, 16)


class Shades(nn.Module):
    """Draws every shade, those between two classes as well, by the first number of z."""

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return z[:, 0].tanh()[:, None, None, None].expand(-1, 1, 16, 16)


@pytest.fixture(scope="module")
def solver() -> Solver:
    return taught([0, 1, 2, 3]).solver


def sampling(solver: Solver, tries: int = 64) -> DeepGenerativeReplay:
    strategy = strategy_of("deep_generative_replay", solver_width=4, tries=tries)
    strategy.build(nn.Identity(), 4, 1, 16)
    strategy.solver = solver
    return strategy


def test_images_of_a_class_are_those_the_solver_takes_for_it(solver: Solver) -> None:
    strategy = sampling(solver)
    z = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(4).repeat(16)
    images = strategy.generate(Ramp(), z, labels)
    assert images.shape == (64, 1, 16, 16)
    assert torch.equal(solver(images).argmax(dim=1), labels)
    # the first that will do: where z itself gives the class, nothing is searched for
    direct = Ramp()(z, labels)
    fits = solver(direct).argmax(dim=1) == labels
    assert 0 < fits.sum() < 64 and torch.equal(images[fits], direct[fits])
    # each image is a function of its own z
    order = torch.randperm(64)[:10]
    assert torch.equal(strategy.generate(Ramp(), z[order], labels[order]), images[order])


def test_search_is_bounded_and_ends_with_the_likeliest_candidate(solver: Solver) -> None:
    z = torch.linspace(-0.6, -0.1, 6).repeat(5, 1)  # nothing but class 1 comes out
    generator = Ramp()
    images = sampling(solver, tries=4).generate(generator, z, torch.full((5,), 3))
    assert generator.images == 5 * 4
    assert torch.equal(images, Ramp()(z, z[:, 0]))
    generator = Ramp()
    sampling(solver, tries=100).generate(generator, z, torch.full((5,), 3))
    assert generator.images == 5 * 6  # z has no more rotations
    z = torch.tensor([[-1.0, 0.5, -0.5, -1.0]])  # shades of 0, 2, 1, 0
    shade = sampling(solver).generate(Ramp(), z, torch.tensor([3])).unique()
    probabilities = solver(Ramp()(torch.tensor([[-1.0], [0.5], [-0.5]]), z)).softmax(dim=1)[:, 3]
    expected = torch.tensor([40.0, 160.0, 100.0])[probabilities.argmax()] / 127.5 - 1
    assert shade.item() == pytest.approx(expected.item())


def test_confidence_keeps_looking_for_a_clearer_candidate(solver: Solver) -> None:
    wanted = torch.zeros(64, dtype=torch.int64)
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))

    def probabilities(strategy: DeepGenerativeReplay) -> Tensor:
        return solver(strategy.generate(Shades(), z, wanted)).softmax(dim=1)[:, 0]

    first, clearest = sampling(solver), sampling(solver)
    found = probabilities(first)
    level = found.median().item()
    clearest.confidence = level
    clearer = probabilities(clearest)
    assert (clearer >= found).all() and clearer.sum() > found.sum()
    assert torch.equal(clearer[found >= level], found[found >= level])  # these were clear enough


def test_replays_the_solver_is_unsure_of_are_left_out(solver: Solver) -> None:
    def replays(confidence: float, judge: Solver = solver) -> Tensor:
        strategy = sampling(judge)
        strategy.confidence = confidence
        strategy.begin_task(context(tasks([0], [1], [2], [3])[3], snapshot=Shades()))
        assert len(strategy.buffer.labels) == len(strategy.buffer.images)
        return strategy.buffer.images

    def sureness(images: Tensor) -> Tensor:
        return solver(normalise(images)).softmax(dim=1).amax(dim=1)

    everything = replays(0.0)
    level = sureness(everything).median().item()
    kept = replays(level)
    assert torch.equal(kept, everything[sureness(everything) >= level])
    assert 0 < len(kept) < len(everything)
    assert torch.equal(replays(0.999, Solver(4, 1, 16, 4)), everything)  # sure of nothing: all of them


def test_checkpoint_alone_samples_what_the_run_samples(build: Build) -> None:
    run = build(*GENERATIVE, "learner.ema=0.5", "epochs=1").fit()
    loaded = trained.load_generator(run.folder / "checkpoints" / "last.ckpt")
    z, labels = torch.randn(12, 8), torch.arange(4).repeat(3)
    images = run.module.generate(z, labels)
    assert torch.equal(loaded(z, labels), images)
    assert not torch.equal(images, run.module.sampler(z, labels))  # the solver had a say


def test_solver_goes_along_with_init_from(compose: Compose, tmp_path: Path) -> None:
    experiment.run(compose(*GENERATIVE, "scenario.tasks=[[2],[0]]", "epochs=1"), tmp_path / "old")
    path = tmp_path / "old" / "checkpoints" / "last.ckpt"
    old = checkpoint.read(path)
    state, network = old["state_dict"], old["mergan"]["config"]["network"]
    run = tiny.build(compose(*GENERATIVE, "data.num_classes=5"), tmp_path / "new")
    strategy = run.module.strategy
    assert isinstance(strategy, DeepGenerativeReplay)
    transfer(run.module, old, path, labels_here(old, path, network, ["x", "3", "2", "1", "0"]))
    assert torch.equal(strategy.solver.head.weight[[4, 3, 2, 1]], state["strategy.solver.head.weight"])
    assert torch.equal(strategy.solver.trunk[0].weight, state["strategy.solver.trunk.0.weight"])  # type: ignore[arg-type]
    assert strategy.constant == 2  # class 2 of the old run, by its name
    other = tiny.build(compose(*GENERATIVE, "strategy.solver_width=3"), tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"solver_width=3"):
        transfer(other.module, old, path, labels_here(old, path, network, ["0", "1", "2", "3"]))


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32), (1, 64)])
def test_solver_takes_images_of_every_shape(channels: int, size: int) -> None:
    solver = Solver(7, channels, size, width=2)
    assert solver(torch.zeros(3, channels, size, size)).shape == (3, 7)
    assert not [part for part in solver.modules() if isinstance(part, nn.BatchNorm2d)]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("retrain_and_align", {"weight": -1.0}),
        ("retrain_and_align", {"mode": "both"}),
        ("retrain_and_align", {"buffer_per_class": 0}),
        ("experience_replay", {"capacity": 0}),
        ("experience_replay", {"capacity": None}),
        ("experience_replay", {"replay_weight": -1.0}),
        ("deep_generative_replay", {"buffer_per_class": 0}),
        ("deep_generative_replay", {"solver_width": 0}),
        ("deep_generative_replay", {"solver_steps": 1.5}),
        ("deep_generative_replay", {"solver_batch": 0}),
        ("deep_generative_replay", {"solver_lr": -1e-3}),
        ("deep_generative_replay", {"tries": 0}),
        ("deep_generative_replay", {"confidence": 1.5}),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(kind: str, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"strategy\.{name}="):
        strategy_of(kind, **wrong)


def test_memory_smaller_than_the_classes_is_refused(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.capacity=3: use at least one per class, 4"):
        build("strategy=experience_replay", "strategy.capacity=3")
