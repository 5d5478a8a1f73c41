"""What each strategy shows to the discriminator and adds to the generator's loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hydra
import lightning.pytorch as pl
import pytest
import tiny
import torch
from hydra.errors import HydraException
from omegaconf import DictConfig
from tiny import context, strategy_of, tasks
from torch import Tensor, nn

from mergan.data import denormalise
from mergan.learners.acgan import ACGAN
from mergan.scenarios.base import Task
from mergan.strategies import Context, TrainingBatch
from mergan.strategies.finetune import Finetune
from mergan.strategies.joint import Joint
from mergan.system.errors import ConfigError

Build = Callable[..., tiny.Run]

BUFFER, LIVE = ["strategy=joint_retrain"], ["strategy=joint_retrain", "strategy.mode=live"]
CONTINUAL = [LIVE, *([f"strategy={name}"] for name in tiny.STRATEGIES if name != "joint")]


@dataclass
class Draw:
    """One call of a strategy's training_batch."""

    task: int
    images: Tensor
    labels: Tensor
    result: TrainingBatch

    @property
    def replays(self) -> tuple[Tensor, Tensor]:
        """Images and labels that the strategy has added."""
        return self.result.images[len(self.images) :], self.result.labels[len(self.images) :]


class LoaderWatcher(pl.Callback):
    """Collects the labels that the loader delivers, by task."""

    def __init__(self) -> None:
        self.labels: dict[int, list[int]] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, ACGAN)
        self.labels.setdefault(pl_module.task.index, []).extend(batch[1].tolist())


def watch(run: tiny.Run) -> list[Draw]:
    """Record what goes into and comes out of the strategy's training_batch."""
    draws: list[Draw] = []
    original = run.module.strategy.training_batch

    def recording(images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        result = original(images, labels, context)
        draws.append(Draw(context.task.index, images, labels, result))
        return result

    run.module.strategy.training_batch = recording  # type: ignore[method-assign]
    return draws


def real(count: int, label: int) -> tuple[Tensor, Tensor]:
    """Images that no generator makes, and their labels."""
    return torch.full((count, 1, 16, 16), 0.123), torch.full((count,), label)


# ---------------------------------------------------------------- which real images arrive


@pytest.mark.parametrize("overrides", CONTINUAL, ids=" ".join)
def test_real_images_of_past_classes_never_come_back(build: Build, overrides: list[str]) -> None:
    run = build(*overrides, "scenario.tasks=[[2,0],[3],[1]]", "epochs=1", "steps_per_epoch=4")
    draws, watcher = watch(run), LoaderWatcher()
    run.fit(watcher)
    stream = {0: {2, 0}, 1: {3}, 2: {1}}
    assert {task: set(labels) for task, labels in watcher.labels.items()} == stream
    for task, classes in stream.items():
        given = {label for draw in draws if draw.task == task for label in draw.labels.tolist()}
        assert given == classes
    train = run.data.pool.train_set
    stored = {label: train.subset(train.indices_of([label])) for label in range(4)}
    known = {
        label: {image.tobytes() for image in images.images} for label, images in stored.items()
    }  # the pixels are real ones of that class, too
    for draw in draws:
        for image, label in zip(draw.images, draw.labels.tolist(), strict=True):
            pixels = ((image + 1) * 127.5).round().to(torch.uint8).numpy().tobytes()
            assert pixels in known[label]


def test_joint_training_sees_all_classes_in_one_task(build: Build) -> None:
    run = build("strategy=joint", "steps_per_epoch=10")
    watcher = LoaderWatcher()
    run.fit(watcher)
    assert set(watcher.labels) == {0}
    assert set(watcher.labels[0]) == {0, 1, 2, 3}
    # the steps of two tasks, 2 epochs each
    assert run.trainer.global_step == 40
    assert list(run.evaluation.rows[-1]) == [0, 1, 2, 3]
    assert len(run.evaluation.rows) == 1


@pytest.mark.parametrize("strategy", [Finetune(), Joint(), strategy_of("replay_alignment")])
def test_strategies_without_replay_take_the_real_images_as_they_are(strategy: Finetune) -> None:
    images, labels = real(8, 1)
    batch = strategy.training_batch(images, labels, context(tasks([0], [1])[1]))
    assert batch.images is images and batch.labels is labels
    assert batch.weights.tolist() == [1 / 8] * 8
    assert batch.regularised == 8


def test_generator_is_asked_for_what_the_discriminator_sees() -> None:
    task = tasks([3], [1, 0])[1]
    assert (
        strategy_of("joint_retrain").asked_classes(task)
        == strategy_of("joint_retrain", mode="live").asked_classes(task)
        == (3, 1, 0)
    )
    assert Finetune().asked_classes(task) == strategy_of("replay_alignment").asked_classes(task) == (1, 0)


# ---------------------------------------------------------------- replay


@pytest.mark.parametrize("mode", [BUFFER, LIVE], ids=["buffer", "live"])
@pytest.mark.parametrize("critic_steps", [1, 2])
def test_replays_carry_the_labels_they_were_made_for(
    build: Build, mode: list[str], critic_steps: int
) -> None:
    settings = ["scenario.tasks=[[2],[0,3],[1]]", "epochs=1", "steps_per_epoch=6"]
    run = build(*mode, *tiny.PAINTER, *settings, f"objective.critic_steps={critic_steps}")
    draws = watch(run)
    run.fit()
    replayed: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for draw in draws:
        assert torch.equal(draw.result.images[: len(draw.images)], draw.images)
        assert torch.equal(draw.result.labels[: len(draw.labels)], draw.labels)
        images, labels = draw.replays
        assert torch.equal(tiny.painted_labels(images, 4), labels)
        replayed[draw.task] |= set(labels.tolist())
    assert replayed == {0: set(), 1: {2}, 2: {2, 0, 3}}


@pytest.mark.parametrize(("per_class", "expected"), [("null", [8, 4, 8 / 3]), ("90", [8, 2, 8 / 7])])
def test_buffer_mode_mixes_real_images_and_replays_in_proportion(
    build: Build, per_class: str, expected: list[float]
) -> None:
    # 30 real images a class, so the share of task t is 30 / (30 + t * per_class)
    settings = ["scenario.tasks=[[0],[1],[2]]", "epochs=1", "steps_per_epoch=21"]
    run = build(*BUFFER, f"strategy.buffer_per_class={per_class}", *settings)
    draws = watch(run)
    run.fit()
    assert {len(draw.result.images) for draw in draws} == {8}
    for task in range(3):
        counts = [len(draw.images) for draw in draws if draw.task == task]
        assert len(counts) == 21
        assert sum(counts) / 21 == pytest.approx(expected[task], abs=0.05)
        assert max(counts) - min(counts) <= 1
        assert all(
            len(draw.images) == draw.result.labels.eq(task).sum() for draw in draws if draw.task == task
        )


def test_one_pass_of_buffer_mode_goes_through_all_real_images(build: Build) -> None:
    run = build(*BUFFER, "scenario.tasks=[[0],[1],[2]]", "epochs=1", "steps_per_epoch=null")
    draws = watch(run)
    run.fit()
    for task in range(3):
        images = torch.cat([draw.images for draw in draws if draw.task == task])
        # 30 images; the last step is filled up
        assert len({image.numpy().tobytes() for image in images}) == 30


def test_replays_of_the_past_classes_are_balanced() -> None:
    task = tasks([2], [0, 3], [1])[2]
    for strategy in (
        strategy_of("joint_retrain", buffer_per_class=20),
        strategy_of("joint_retrain", mode="live", replay_per_step=6000),
    ):
        setting = context(task, batch_size=6000)
        strategy.begin_task(setting)
        _, labels = real(0, 1) if strategy.mode == "buffer" else real(1, 1)
        batch = strategy.training_batch(torch.zeros(len(labels), 1, 16, 16), labels, setting)
        counts = batch.labels[len(labels) :].bincount(minlength=4).tolist()
        assert counts[1] == 0
        assert all(abs(counts[label] - 2000) < 150 for label in (0, 2, 3))


def test_real_images_per_class_are_capped_for_the_balance(build: Build) -> None:
    run = build(*BUFFER, "strategy.max_per_class=5", "epochs=1", "steps_per_epoch=20")
    draws = watch(run)
    run.fit()
    for label in range(4):
        shown = {
            image.numpy().tobytes()
            for draw in draws
            for image, given in zip(draw.images, draw.labels.tolist(), strict=True)
            if given == label
        }
        assert len(shown) == 5


def test_buffer_is_the_same_whenever_it_is_made_again() -> None:
    task = tasks([0, 1], [2])[1]

    def drawn(setting: Context, times: int = 1) -> Tensor:
        strategy = strategy_of("joint_retrain", buffer_per_class=10)
        torch.seed()  # the global random state has no say
        for _ in range(times):
            strategy.begin_task(setting)
        setting.rng.manual_seed(7)
        return strategy.training_batch(*real(1, 2), setting).images[1:]

    first = drawn(context(task))
    assert torch.equal(first, drawn(context(task, rng=torch.Generator().manual_seed(99))))
    assert torch.equal(first, drawn(context(task), times=3))
    assert not torch.equal(first, drawn(context(task, seed=1)))
    later = Task(2, task.classes, task.past, 1, 2)
    assert not torch.equal(first, drawn(context(later)))


@pytest.mark.parametrize(("steps", "per_class", "size"), [(3, None, 12), (100, None, 30), (3, 40, 40)])
def test_buffer_of_its_own_size_is_no_larger_than_the_task_can_use(
    steps: int, per_class: int | None, size: int
) -> None:
    # half of 8 images are replays: three steps draw 12 of them
    setting = context(tasks([0], [1])[1], num_batches=steps)
    strategy = strategy_of("joint_retrain", buffer_per_class=per_class)
    strategy.begin_task(setting)
    batches = [strategy.training_batch(*real(4, 1), setting) for _ in range(200)]
    replays = {image.numpy().tobytes() for batch in batches for image in batch.images[4:]}
    assert len(replays) == size


def test_buffer_is_kept_through_a_task_and_renewed_for_the_next() -> None:
    _, second, third = tasks([0], [1], [2])
    strategy = strategy_of("joint_retrain", buffer_per_class=4)

    def shades(task: Task, value: float) -> Tensor:
        setting = context(task, snapshot=Constant(value))
        strategy.begin_task(setting)
        return strategy.training_batch(*real(1, task.classes[0]), setting).images[1:].unique()

    assert shades(second, 0.2).tolist() == pytest.approx([0.2], abs=1 / 255)
    assert shades(second, 0.6).tolist() == pytest.approx([0.2], abs=1 / 255)
    assert shades(third, 0.6).tolist() == pytest.approx([0.6], abs=1 / 255)


class Constant(nn.Module):
    """Makes images of one shade."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return torch.full((len(z), 1, 16, 16), self.value)


def test_buffer_mode_weighs_replays_against_real_images() -> None:
    setting = context(tasks([0], [1])[1])
    strategy = strategy_of("joint_retrain", replay_weight=0.5)
    strategy.begin_task(setting)
    batch = strategy.training_batch(*real(3, 1), setting)
    assert batch.weights.tolist() == pytest.approx([1 / 8] * 3 + [0.5 / 8] * 5)
    assert batch.regularised == 8


def test_real_images_keep_their_least_share_of_a_batch() -> None:
    second, fourth = tasks([0], [1], [2], [3])[1::2]
    strategy = strategy_of("joint_retrain", min_real_share=0.375)
    shares = [strategy.real_per_step(task, 8, dict.fromkeys(task.classes, 30)) for task in (second, fourth)]
    assert shares == [4, 3]  # a half and three eighths; balanced classes would leave the last a quarter
    setting = context(fourth)
    strategy.begin_task(setting)
    batch = strategy.training_batch(*real(3, 3), setting)
    assert len(batch.images) == 8 and (batch.labels[3:] < 3).all()


@pytest.mark.parametrize(("share", "repeats"), [(0.0, 1), (0.1, 1), (0.4, 6), (0.5, 9)])
def test_new_classes_are_asked_for_with_the_minimum_share_too(share: float, repeats: int) -> None:
    task = tasks(list(range(9)), [9])[1]
    asked = strategy_of("joint_retrain", min_real_share=share).asked_classes(task)
    assert sorted(asked) == [*range(9), *[9] * repeats]
    assert asked.count(9) / len(asked) == pytest.approx(max(share, 0.1))


@pytest.mark.parametrize("share", [-0.1, 1.0, "half"])
def test_share_out_of_range_is_refused(share: Any) -> None:
    with pytest.raises(ConfigError, match=f"strategy.min_real_share={share}"):
        strategy_of("joint_retrain", min_real_share=share)


@pytest.mark.parametrize("per_step", [None, 6])
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_live_mode_adds_replays_to_every_batch(per_step: int | None, weight: float) -> None:
    setting = context(tasks([0, 1, 2], [3])[1])
    strategy = strategy_of("joint_retrain", mode="live", replay_per_step=per_step, replay_weight=weight)
    strategy.begin_task(setting)
    assert strategy.real_per_step(setting.task, 8, setting.counts) == 8
    batch = strategy.training_batch(*real(8, 3), setting)
    count = per_step or 8
    assert len(batch.images) == len(batch.labels) == len(batch.weights) == 8 + count
    assert batch.weights[:8].tolist() == pytest.approx([1 / 8] * 8)
    # three past classes against one new one, each as heavy as that one, times the weight
    assert batch.weights[8:].tolist() == pytest.approx([3 * weight / count] * count)
    assert batch.regularised == 8  # no gradient penalty on replays
    again = strategy.training_batch(*real(8, 3), setting)
    assert not torch.equal(batch.images[8:], again.images[8:])


@pytest.mark.parametrize("spread", [1.0, 1.5])
def test_live_replays_come_from_the_snapshot_for_their_own_z(spread: float) -> None:
    setting = context(tasks([0, 1], [2])[1])
    strategy = strategy_of("joint_retrain", mode="live", replay_spread=spread)
    batch = strategy.training_batch(*real(8, 2), setting)
    setting.rng.manual_seed(5)
    labels = setting.labels((0, 1), 8)
    images = setting.snapshot(spread * setting.latent(8), labels)
    assert torch.equal(batch.images[8:], images) and torch.equal(batch.labels[8:], labels)


@pytest.mark.parametrize("spread", [1.0, 1.5])
def test_buffered_replays_come_from_the_snapshot_for_the_z_of_the_task(spread: float) -> None:
    setting = context(tasks([0, 1], [2])[1])
    strategy = strategy_of("joint_retrain", buffer_per_class=3, replay_spread=spread)
    strategy.begin_task(setting)
    z = spread * torch.randn(6, 8, generator=setting.task_rng())
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert torch.equal(strategy.buffer.images, denormalise(setting.snapshot(z, labels)))


@pytest.mark.parametrize("mode", ["buffer", "live"])
def test_first_task_has_nothing_to_replay(mode: str) -> None:
    setting = context(tasks([0], [1])[0])
    strategy = strategy_of("joint_retrain", mode=mode)
    strategy.begin_task(setting)
    assert strategy.real_per_step(setting.task, 8, setting.counts) == 8
    batch = strategy.training_batch(*real(8, 0), setting)
    assert len(batch.images) == 8 and batch.weights.tolist() == [1 / 8] * 8


# ---------------------------------------------------------------- alignment


@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize(("batch_size", "spread"), [(None, 1.0), (5, 1.5)])
def test_alignment_is_the_weighed_squared_error_to_the_snapshot(
    divide: bool, batch_size: int | None, spread: float
) -> None:
    setting = context(tasks([0, 1, 3], [2])[1])
    own = {"divide_by_classes": divide, "batch_size": batch_size, "replay_spread": spread}
    strategy = strategy_of("replay_alignment", weight=12.0, **own)
    (value,) = strategy.generator_terms(setting, tiny.NOTHING).values()
    setting.rng.manual_seed(5)
    count = batch_size or 8
    labels, z = setting.labels((0, 1, 3), count), setting.latent(count)
    difference = setting.generator(z, labels) - setting.snapshot(spread * z, labels)
    expected = (12.0 / 3 if divide else 12.0) * (difference**2).sum() / (count * 16 * 16)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert value.item() > 0


def test_alignment_of_edges_compares_neighbouring_pixels() -> None:
    setting = context(tasks([0, 1], [2])[1])
    strategy = strategy_of("replay_alignment", weight=12.0, edges=0.5)
    (value,) = strategy.generator_terms(setting, tiny.NOTHING).values()
    setting.rng.manual_seed(5)
    labels, z = setting.labels((0, 1), 8), setting.latent(8)
    error = (setting.generator(z, labels) - setting.snapshot(z, labels)).double()
    right, below = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    expected = 12.0 * (error.pow(2).mean() + 0.5 * (right.pow(2).mean() + below.pow(2).mean()))
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_edges_weigh_dots_more_than_a_wrong_colour() -> None:
    target = torch.zeros(2, 3, 8, 8)
    dots = torch.ones(8, 8)
    dots[::2, ::2] = dots[1::2, 1::2] = -1
    images = torch.stack([dots.expand(3, 8, 8), torch.ones(3, 8, 8)])
    of_dots, of_colour = strategy_of("replay_alignment", edges=1.0).errors(images, target)
    assert of_dots == 1 + 4 + 4 and of_colour == 1
    assert strategy_of("replay_alignment", edges=0.0).errors(images, target).tolist() == [1, 1]


def test_alignment_trains_the_generator_and_not_the_snapshot() -> None:
    setting = context(tasks([0, 1], [2])[1])
    (value,) = strategy_of("replay_alignment").generator_terms(setting, tiny.NOTHING).values()
    value.backward()
    assert all(parameter.grad is not None for parameter in setting.generator.parameters())
    assert all(parameter.grad is None for parameter in setting.snapshot.parameters())
    scale = next(part for name, part in setting.generator.named_parameters() if name.endswith("scale.weight"))
    assert scale.grad is not None
    assert scale.grad[:2].abs().sum() > 0
    assert scale.grad[2:].abs().sum() == 0  # only past classes are aligned


def test_alignment_of_an_unchanged_generator_is_zero() -> None:
    setting = context(tasks([0, 1], [2])[1])
    setting.snapshot = copy.deepcopy(setting.generator).eval()
    assert strategy_of("replay_alignment").generator_terms(setting, tiny.NOTHING)["alignment"].item() == 0


def test_alignment_starts_at_zero_with_the_second_task(build: Build) -> None:
    run = build("strategy=replay_alignment", "epochs=1", "steps_per_epoch=3", "lr=0.01").fit()
    run.trainer.loggers[0].save()
    rows = [row for row in tiny.csv_rows(run.folder) if "g/loss" in row]
    assert ["g/alignment" in row for row in rows] == [False] * 3 + [True] * 3
    values = [float(row["g/alignment"]) for row in rows[3:]]
    assert values[0] == 0 and min(values[1:]) > 0


@pytest.mark.parametrize("classifier", [True, False])
def test_alignment_can_go_without_the_classifier(build: Build, classifier: bool) -> None:
    overrides = ["strategy=replay_alignment", f"strategy.classifier={classifier}", "epochs=1"]
    run = build(*overrides, "objective.lambda_cls_fake=1").fit()
    terms = {name for name in run.module.last_losses if "/classifier" in name}
    assert terms == ({"g/classifier", "d/classifier", "d/classifier_fake"} if classifier else set())


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("joint_retrain", {"mode": "both"}),
        ("joint_retrain", {"buffer_per_class": 0}),
        ("joint_retrain", {"buffer_per_class": 2.5}),
        ("joint_retrain", {"max_per_class": -3}),
        ("joint_retrain", {"replay_per_step": 0}),
        ("joint_retrain", {"replay_weight": -1.0}),
        ("joint_retrain", {"replay_weight": float("nan")}),
        ("joint_retrain", {"replay_weight": "much"}),
        ("replay_alignment", {"weight": -1.0}),
        ("replay_alignment", {"edges": -1.0}),
        ("replay_alignment", {"weight": float("inf")}),
        ("replay_alignment", {"weight": "much"}),
        ("replay_alignment", {"batch_size": 0}),
        ("replay_alignment", {"batch_size": "8"}),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(kind: str, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"strategy\.{name}="):
        strategy_of(kind, **wrong)


@pytest.mark.parametrize("strategy", tiny.STRATEGIES)
def test_unknown_arguments_are_refused(compose: Callable[..., DictConfig], strategy: str) -> None:
    with pytest.raises(HydraException, match="colour"):
        compose(f"strategy={strategy}", "strategy.colour=red")
    with pytest.raises(HydraException, match="colour"):
        hydra.utils.instantiate(compose(f"strategy={strategy}", "+strategy.colour=red").strategy)
