"""Baselines: EWC as published, distillation, synaptic intelligence, A-GEM, an ensemble, real memories."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from omegaconf import DictConfig
from tiny import context, strategy_of, tasks
from torch import Tensor, nn

from mergan.config.instantiate import instantiate
from mergan.data import denormalise
from mergan.learners import ContinualLearner
from mergan.run import experiment
from mergan.run.trained import load_generator
from mergan.strategies import Context, TrainingBatch, Update
from mergan.strategies.agem import project
from mergan.system.errors import ConfigError

Build = Callable[..., tiny.Run]
Compose = Callable[..., DictConfig]
THREE = ["scenario.tasks=[[0],[1],[2]]", "epochs=1", "steps_per_epoch=3"]


# ---------------------------------------------------------------- experience_replay


def test_balanced_batches_are_half_memory_in_every_task(build: Build) -> None:
    run = build("strategy=experience_replay", "strategy.balanced=true", "strategy.capacity=12", *THREE)
    real: dict[int, list[int]] = {}
    original = run.module.strategy.training_batch

    def watching(images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        batch = original(images, labels, context)
        assert len(batch.images) == 8 and torch.equal(batch.weights, torch.full((8,), 1 / 8))
        real.setdefault(context.task.index, []).append(len(images))
        return batch

    run.module.strategy.training_batch = watching  # type: ignore[method-assign]
    run.fit()
    assert real == {0: [8] * 3, 1: [4] * 3, 2: [4] * 3}


@pytest.mark.parametrize(("past", "new"), [([0, 1, 2], [3]), ([0], [1, 2, 3]), ([0, 1], [2, 3])])
def test_balanced_generator_is_asked_for_new_and_past_classes_alike(past: list[int], new: list[int]) -> None:
    strategy = strategy_of("experience_replay", balanced=True)
    first, second = tasks(past, new)
    asked = strategy.asked_classes(second)
    shares = {label: asked.count(label) / len(asked) for label in past + new}
    expected = {label: 0.5 / len(part) for part in (past, new) for label in part}
    assert shares == pytest.approx(expected)
    assert strategy.asked_classes(first) == tuple(past)


def test_capacity_in_bytes_counts_the_stored_images() -> None:
    strategy = strategy_of("experience_replay", capacity=20 * 256 + 255, unit="bytes")
    strategy.build(nn.Identity(), 4, 1, 16)
    assert strategy.images.shape == (20, 1, 16, 16) and strategy.images.nbytes == 20 * 256


@pytest.mark.parametrize("name", ["experience_replay", "agem", "memory_only"])
@pytest.mark.parametrize(
    ("unit", "capacity", "message"),
    [
        ("images", 3, "strategy.capacity=3: use at least one per class, 4"),
        (
            "bytes",
            1023,
            "strategy.capacity=1023: holds 3 images of 256 bytes; use at least one per class, 1024",
        ),
    ],
)
def test_memory_without_an_image_of_each_class_is_refused(
    name: str, unit: str, capacity: int, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        strategy_of(name, capacity=capacity, unit=unit).build(nn.Identity(), 4, 1, 16)
    assert str(refused.value) == message
    strategy_of(name, capacity=capacity + 1, unit=unit).build(nn.Identity(), 4, 1, 16)


def test_unknown_unit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.unit=pounds"):
        strategy_of("experience_replay", unit="pounds")


# ---------------------------------------------------------------- memory_only


def test_memory_alone_is_measured_image_by_image(compose: Compose, tmp_path: Path) -> None:
    settings = ["strategy.capacity=20", "scenario.tasks=[[2],[0],[1]]", "evaluation.samples_per_class=5"]
    run = tiny.build(compose("strategy=memory_only", *settings, "epochs=1", "steps_per_epoch=1"), tmp_path)
    run.fit()
    strategy = run.module.strategy
    train = run.data.pool.train_set
    shown = {label: strategy.stored_images(label) for label in (0, 1, 2)}
    assert strategy.stored_images(3) is None
    for label, images in shown.items():
        own = {image.tobytes() for image in train.subset(train.indices_of([label])).images}
        held = {image.numpy().tobytes() for image in images}
        assert len(held) == len(images) == 6 and held <= own
    evaluator, seen = run.evaluation.evaluator, []
    original = evaluator.judge.look

    def looking(images: Tensor) -> Any:
        seen.append(images)
        return original(images)

    evaluator.judge.look = looking  # type: ignore[method-assign]
    evaluator.measure(run.module.generate, [0], strategy.stored_images)
    assert torch.equal(seen[0], shown[0][:5])  # not more than of a generator


def test_reverse_accuracy_of_a_memory_learns_all_of_it(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    from mergan.evaluation import evaluator

    run = build("strategy=memory_only", "strategy.capacity=40", "scenario.tasks=[[0,1]]", "epochs=1").fit()
    learned: list[Any] = []
    original = evaluator.train_classifier

    def training(images: Any, *arguments: Any, **named: Any) -> Any:
        learned.append(images)
        return original(images, *arguments, **named)

    monkeypatch.setattr(evaluator, "train_classifier", training)
    run.evaluation.evaluator.reverse_accuracy(run.module.generate, [0, 1], run.module.strategy.stored_images)
    assert learned[0].labels.tolist() == [0] * 20 + [1] * 20  # reverse_per_class=4 generated ones otherwise
    stored = [run.module.strategy.stored_images(label) for label in (0, 1)]
    assert torch.equal(torch.from_numpy(learned[0].images), torch.cat(stored))


def test_memory_draws_its_images_uniformly_by_z(build: Build) -> None:
    run = build("strategy=memory_only", "strategy.capacity=8", "scenario.tasks=[[0],[1]]", "epochs=1").fit()
    strategy = run.module.strategy
    z = torch.randn(400, 8, generator=torch.Generator().manual_seed(1))
    for label in (0, 1):
        images = denormalise(run.module.generate(z, torch.full((400,), label)))
        stored = strategy.stored_images(label)
        matches = (images[:, None] == stored).flatten(2).all(dim=2)
        assert (matches.sum(dim=1) == 1).all()
        assert (matches.sum(dim=0) - 100).abs().max() < 40
    unseen = run.module.generate(z[:3], torch.tensor([3, 3, 3]))
    assert torch.equal(unseen, run.module.generator(z[:3], torch.tensor([3, 3, 3])))


# ---------------------------------------------------------------- A-GEM


def test_projected_gradient_never_runs_against_the_memory() -> None:
    rng = torch.Generator().manual_seed(0)
    for gradient, reference in zip(torch.randn(50, 6, generator=rng), torch.randn(50, 6, generator=rng),
                                   strict=True):  # fmt: skip
        result = project(gradient, reference)
        assert result @ reference >= -1e-6
        if gradient @ reference >= 0:
            assert torch.equal(result, gradient)
        else:  # the nearest one: what was taken away is parallel to the reference
            assert torch.allclose(result - gradient, -(gradient @ reference) / reference.square().sum()
                                  * reference, atol=1e-6)  # fmt: skip
    assert torch.equal(project(gradient, torch.zeros(6)), gradient)


@pytest.mark.parametrize("learner", ["acgan", "cvae"])
def test_every_network_of_a_run_steps_along_the_projected_gradient(build: Build, learner: str) -> None:
    run = build("strategy=agem", f"learner={learner}", *THREE)
    strategy = run.module.strategy
    products: dict[tuple[str, int], list[tuple[float, float]]] = {}
    inner = type(strategy).optimise

    def flat(weights: Any) -> Tensor:
        return torch.cat([weight.grad.flatten().clone() for weight in weights if weight.grad is not None])

    def optimise(update: Update, context: Context) -> None:
        if context.task.past:
            before, state = flat(update.weights), context.rng.get_state()
            stored = strategy.buffer.draw(8, context)
            assert set(stored.labels.tolist()) <= set(context.task.past)
            used = [weight for weight in update.weights if weight.grad is not None]
            found = torch.autograd.grad(update.loss_on(stored), used, materialize_grads=True)
            reference = torch.cat([part.flatten() for part in found])
            context.rng.set_state(state)
            inner(strategy, update, context)
            pair = float(before @ reference), float(flat(update.weights) @ reference)
            scale = float(before.norm() * reference.norm())
            products.setdefault((update.name, context.task.index), []).append(
                (pair[0] / scale, pair[1] / scale)
            )
        else:
            inner(strategy, update, context)

    strategy.optimise = optimise  # type: ignore[method-assign]
    run.fit()
    names = ("g", "d") if learner == "acgan" else ("g",)
    assert products.keys() == set(itertools.product(names, (1, 2)))
    pairs = [pair for found in products.values() for pair in found]
    assert min(after for _, after in pairs) > -1e-4
    assert all(after == pytest.approx(max(before, 0), abs=1e-4) for before, after in pairs)
    if learner == "acgan":
        assert min(before for before, _ in pairs) < -1e-3  # there was something to project


class Deaf(ContinualLearner):
    """A learner that cannot tell its loss on other data."""

    def trained(self) -> Any:
        raise NotImplementedError

    def step(self, images: Tensor, labels: Tensor, context: Context) -> Any:
        raise NotImplementedError


def test_learner_without_what_a_strategy_needs_is_refused(compose: Compose) -> None:
    cfg = compose().learner
    shared = {key: cfg[key] for key in ("latent_dim", "batch_size", "lr", "betas", "lr_schedule", "ema",
              "reset_optimizers", "inherit_classes", "seed", "log_every_n_steps")}  # fmt: skip
    with pytest.raises(ConfigError, match=r"^strategy: AGEM needs the loss_on .* which Deaf does not offer"):
        Deaf(nn.Identity(), strategy_of("agem"), None, **shared)  # type: ignore[arg-type]


# ---------------------------------------------------------------- synaptic intelligence


class Point(nn.Module):
    """Two weights, for losses that are functions of them."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, -2.0]))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError


def not_asked(batch: TrainingBatch) -> Tensor:
    raise NotImplementedError


CURVATURE = torch.tensor([3.0, 0.5])


def descend(strategy: Any, setting: Context, target: Tensor, steps: int = 2000, rate: float = 1e-3) -> None:
    """Gradient descent on the quadratic 1/2 sum_i h_i (theta_i - target_i)^2 plus the penalty."""
    weight: nn.Parameter = setting.generator.theta  # type: ignore[assignment]
    strategy.begin_task(setting)
    for _ in range(steps):
        weight.grad = None
        loss = (CURVATURE * (weight - target).square()).sum() / 2
        loss = loss + sum(strategy.generator_terms(setting, tiny.NOTHING).values())
        loss.backward()

        def take() -> None:
            with torch.no_grad():
                weight.sub_(rate * weight.grad)

        strategy.optimise(Update("g", True, [weight], not_asked, take), setting)


def test_path_integral_of_a_quadratic_is_the_decrease_that_each_weight_brought() -> None:
    first, second = tasks([0], [1])
    generator = Point()
    strategy = strategy_of("synaptic_intelligence", weight=0.7, damping=0.1)
    strategy.build(generator, 4, 1, 16)
    target = torch.tensor([0.0, 0.0])
    start = generator.theta.detach().clone()
    descend(strategy, context(first, generator=generator), target)
    end = generator.theta.detach().clone()
    decrease = CURVATURE * (start.square() - end.square()) / 2
    torch.testing.assert_close(strategy.path, decrease, rtol=5e-3, atol=1e-4)
    strategy.end_task(context(first, generator=generator))
    torch.testing.assert_close(strategy.importance, strategy.path / ((end - start).square() + 0.1))
    # in the second task the penalty holds the weights, and the path is that of the loss alone
    important = strategy.importance.clone()
    setting = context(second, generator=generator)
    descend(strategy, setting, torch.tensor([2.0, 2.0]))
    now = generator.theta.detach()
    (penalty,) = strategy.generator_terms(setting, tiny.NOTHING).values()
    assert penalty.item() == pytest.approx(0.7 * float((important * (now - end).square()).sum()))
    fallen = CURVATURE * ((end - 2).square() - (now - 2).square()) / 2
    torch.testing.assert_close(strategy.path, fallen, rtol=5e-3, atol=1e-3)


def test_weights_that_did_harm_get_no_importance() -> None:
    generator = Point()
    strategy = strategy_of("synaptic_intelligence")
    strategy.build(generator, 4, 1, 16)
    setting = context(tasks([0])[0], generator=generator)
    descend(strategy, setting, torch.zeros(2), steps=5, rate=-1e-3)  # ascent
    assert (strategy.path < 0).all()
    strategy.end_task(setting)
    assert strategy.importance.tolist() == [0, 0]


def test_path_begins_once_per_task(build: Build) -> None:
    run = build("strategy=synaptic_intelligence", "epochs=2", "steps_per_epoch=2", "learner.ema=0.5")
    starts: list[Tensor] = []
    original = run.module.strategy.begin_task

    def watching(context: Context) -> None:
        original(context)
        starts.append(run.module.strategy.start.clone())

    run.module.strategy.begin_task = watching  # type: ignore[method-assign]
    run.fit()
    assert torch.equal(starts[0], starts[1]) and torch.equal(starts[2], starts[3])
    assert not torch.equal(starts[1], starts[2])
    assert run.module.strategy.importance.max() > 0


# ---------------------------------------------------------------- knowledge distillation


def test_distillation_is_the_absolute_error_to_the_teacher_and_zero_at_first() -> None:
    setting = context(tasks([0, 1], [2])[1])
    strategy = strategy_of("knowledge_distillation", weight=3.0, batch_size=5)
    (value,) = strategy.generator_terms(setting, tiny.NOTHING).values()
    setting.rng.manual_seed(5)
    labels, z = setting.labels((0, 1), 5), setting.latent(5)
    error = setting.generator(z, labels) - setting.snapshot(z, labels)
    assert value.item() == pytest.approx(3.0 * error.abs().mean().item(), rel=1e-5) and value > 0
    value.backward()
    assert all(weight.grad is None for weight in setting.snapshot.parameters())
    setting.snapshot = copy.deepcopy(setting.generator).eval()
    assert strategy.generator_terms(setting, tiny.NOTHING)["distillation"].item() == 0
    assert strategy.generator_terms(context(tasks([0])[0]), tiny.NOTHING) == {}


def test_distillation_starts_at_zero_with_the_second_task_and_keeps_the_classifier(build: Build) -> None:
    run = build("strategy=knowledge_distillation", "epochs=1", "steps_per_epoch=3", "lr=0.01").fit()
    run.trainer.loggers[0].save()
    rows = [row for row in tiny.csv_rows(run.folder) if "g/loss" in row]
    assert ["g/distillation" in row for row in rows] == [False] * 3 + [True] * 3
    first, *later = [float(row["g/distillation"]) for row in rows[3:]]
    assert first == 0 and min(later) > 0
    assert "g/classifier" in run.module.last_losses


# ---------------------------------------------------------------- ensemble


def test_old_classes_of_an_ensemble_stay_the_same_to_the_bit(build: Build) -> None:
    run = build("strategy=ensemble", "scenario=repetition", "scenario.tasks=[[0,1],[2],[1]]", "epochs=1",
                "learner.ema=0.5", "lr=0.01")  # fmt: skip
    z = torch.randn(3, 8)
    drawn: list[dict[int, Tensor]] = []
    original = run.module.strategy.end_task

    def of_class(label: int) -> Tensor:
        return run.module.generate(z, torch.full((3,), label))

    def watching(context: Context) -> None:
        original(context)
        drawn.append({label: of_class(label) for label in range(3)})
        for label in context.task.classes:
            assert torch.equal(drawn[-1][label], run.module.sampler(z, torch.full((3,), label)))

    run.module.strategy.end_task = watching  # type: ignore[method-assign]
    run.fit()
    first, second, third = drawn
    assert torch.equal(second[0], first[0]) and torch.equal(second[1], first[1])
    assert torch.equal(third[0], first[0]) and torch.equal(third[2], second[2])
    assert not torch.equal(third[1], second[1])  # it came back
    assert run.module.strategy.owner.tolist() == [0, 2, 1, -1]
    loaded = load_generator(run.folder / "checkpoints" / "last.ckpt")
    z, labels = torch.randn(6, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    images = loaded(z, labels)
    assert torch.equal(images, run.module.generate(z, labels))
    plain: Any = loaded.strategy.plain()  # type: ignore[operator]
    torch.testing.assert_close(plain.generate(loaded.network, z, labels), images)


def test_ensemble_drops_a_generator_that_draws_nothing() -> None:
    generator = context(tasks([0])[0]).snapshot
    strategy = strategy_of("ensemble")
    strategy.build(generator, 2, 1, 16)
    for task, used in zip(tasks([0], [1], [0, 1], [0]), ([0], [0, 1], [0], [0, 1]), strict=True):
        strategy.end_task(context(task))
        assert strategy.used == used


def test_ensemble_keeps_the_generator_that_a_stream_starts_from(compose: Compose, tmp_path: Path) -> None:
    experiment.run(compose("strategy=finetune", "scenario.tasks=[[0,1]]", "epochs=1"), tmp_path / "old")
    path = tmp_path / "old" / "checkpoints" / "last.ckpt"
    z, labels = torch.randn(4, 8), torch.tensor([0, 1, 0, 1])
    before = load_generator(path)(z, labels)
    words = ["strategy=ensemble", f"init_from={path}", "scenario.tasks=[[2]]", "epochs=1"]
    experiment.run(compose(*words), tmp_path / "new")
    grown = tmp_path / "new" / "checkpoints" / "last.ckpt"
    assert torch.equal(load_generator(grown)(z, labels), before)
    words = ["strategy=ensemble", f"init_from={grown}", "scenario.tasks=[[3]]", "epochs=1"]
    experiment.run(compose(*words), tmp_path / "newer")
    assert torch.equal(load_generator(tmp_path / "newer" / "checkpoints" / "last.ckpt")(z, labels), before)


# ---------------------------------------------------------------- EWC as published


class Judge(nn.Module):
    """A discriminator whose logit is the sum of the pixels."""

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1).sum(dim=1), images.new_zeros(len(images), 4)


class Constant(nn.Module):
    """Makes images of one shade per class, which are its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.shade = nn.Parameter(torch.tensor([0.1, -0.3, 0.0, 0.0]))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.shade[labels][:, None, None, None].expand(-1, 1, 2, 2)


def test_published_fisher_information_is_the_squared_slope_of_log_d() -> None:
    strategy = strategy_of("ewc_seff", samples=4)
    generator = Constant()
    strategy.build(generator, 4, 1, 2)
    judge = Judge().train()
    strategy.end_task(context(tasks([0, 1])[0], snapshot=generator, discriminator=judge))
    logit = 4 * generator.shade.detach()
    slope = 4 * torch.sigmoid(-logit)  # d log sigmoid(l) / dl = sigmoid(-l)
    torch.testing.assert_close(strategy.importance, slope.square() * torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert judge.training


# ---------------------------------------------------------------- what is kept


def test_bytes_kept_are_those_that_the_next_task_needs() -> None:
    generator = context(tasks([0])[0]).generator
    whole = sum(weight.nbytes for weight in generator.state_dict().values())

    def kept(name: str, **arguments: Any) -> list[int]:
        strategy = strategy_of(name, **arguments)
        strategy.build(generator, 4, 1, 16)
        found = []
        for task in tasks([0, 1], [2], [3]):
            setting = context(task, discriminator=Judge())
            strategy.begin_task(setting)
            strategy.end_task(setting)
            found.append(strategy.bytes_kept(setting.generator))
        return found

    assert kept("finetune") == kept("joint") == [0] * 3
    for name in ("joint_retrain", "replay_alignment", "retrain_and_align", "knowledge_distillation"):
        assert kept(name) == [whole] * 3
    for name in ("ewc", "ewc_seff", "mas"):  # the anchor, the importance and the number of its classes
        assert kept(name, samples=2) == [2 * whole + 8] * 3
    assert kept("ensemble") == [whole, 2 * whole, 3 * whole]
    for name in ("experience_replay", "agem", "memory_only"):  # there are 30 images of a class
        assert kept(name, capacity=200) == [60 * 256, 90 * 256, 120 * 256]
        assert kept(name, capacity=12) == [12 * 256] * 3


def test_bytes_kept_stand_among_the_figures(compose: Compose, tmp_path: Path) -> None:
    words = ["strategy=experience_replay", "strategy.capacity=8", "epochs=1"]
    assert experiment.run(compose(*words), tmp_path)["bytes_kept"] == 8 * 256


def test_a_memory_of_before_there_were_units_goes_on_as_it_was() -> None:
    node = tiny.node_of("strategy", "strategy=experience_replay")
    older = {key: value for key, value in node.items() if key not in ("unit", "balanced")}
    now, then = (instantiate(words, "strategy") for words in (node, older))
    assert len(older) == len(node) - 2
    assert (now.unit, now.balanced) == (then.unit, then.balanced)
