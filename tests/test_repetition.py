"""Classes that come back: what is past, seen and new then, and what every strategy makes of it."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import context, strategy_of, stream_kind, tasks
from torch import Tensor, nn

from mergan import config
from mergan.checkpoints import file as checkpoint
from mergan.evaluation import continual
from mergan.networks.solver import Solver
from mergan.run import estimate, experiment
from mergan.run.measurement import measure
from mergan.scenarios import Classes, Scenario
from mergan.strategies import Context, TrainingBatch
from mergan.strategies.deep_generative_replay import DeepGenerativeReplay
from mergan.strategies.finetune import Finetune
from mergan.strategies.joint_retrain import JointRetrain
from mergan.system.errors import ConfigError

Compose = Callable[..., DictConfig]

# new classes alone, new and returning ones, returning ones alone, all that were seen
LISTS = [[2], [0, 2], [2], [3, 0], [0, 2, 3]]


# ---------------------------------------------------------------- what a task knows


def test_past_new_and_seen_follow_from_what_was_seen_before() -> None:
    stream = tasks(*LISTS)
    assert [task.before for task in stream] == [(), (2,), (2, 0), (2, 0), (2, 0, 3)]
    assert [task.past for task in stream] == [(), (), (0,), (2,), ()]
    assert [task.new for task in stream] == [(2,), (0,), (), (3,), ()]
    assert [task.returning for task in stream] == [(), (2,), (2,), (0,), (0, 2, 3)]
    assert [task.seen for task in stream] == [(2,), (2, 0), (2, 0), (2, 0, 3), (2, 0, 3)]
    assert Scenario(stream).classes == (2, 0, 3)


def test_known_classes_may_come_back() -> None:
    stream = stream_kind("repetition", tasks=[[1, 4], [0]]).scenario(Classes(6), 1, known=(4, 5)).tasks
    assert [(task.new, task.returning, task.past) for task in stream] == [
        ((1,), (4,), (5,)),
        ((0,), (), (4, 5, 1)),
    ]
    assert stream[0].seen == (4, 5, 1)


def test_joined_stream_has_every_class_once() -> None:
    (task,) = stream_kind("repetition", tasks=LISTS).scenario(Classes(4), epochs=3, joined=True).tasks
    assert (task.classes, task.past, task.span, task.epochs) == ((2, 0, 3), (), 5, 3)


@given(
    num_classes=st.integers(1, 8),
    per_task=st.integers(1, 4),
    extra=st.integers(0, 6),
    repetition=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    seed=st.integers(0, 50),
    data=st.data(),
)
def test_drawn_streams_bring_every_class_at_its_turn(
    num_classes: int, per_task: int, extra: int, repetition: float, seed: int, data: st.DataObject
) -> None:
    known = data.draw(st.lists(st.integers(0, num_classes - 1), unique=True))
    needed = math.ceil((num_classes - len(known)) / per_task)
    if needed + extra == 0:
        return
    kind = stream_kind(
        "repetition",
        num_tasks=needed + extra,
        classes_per_task=per_task,
        repetition=repetition,
        class_order="shuffled",
        order_seed=seed,
    )
    stream = kind.scenario(Classes(num_classes), 1, known)
    assert stream == kind.scenario(Classes(num_classes), 1, known)
    assert len(stream.tasks) == needed + extra
    assert set(stream.classes) == set(range(num_classes))
    for task in stream.tasks:
        new = max(0, min(per_task, num_classes - len(task.before)))
        assert (len(task.new), task.classes[:new]) == (new, task.new)
        assert task.classes and len(set(task.classes)) == len(task.classes)
        assert set(task.past) == set(task.before) - set(task.classes)
        assert set(task.seen) == set(task.before) | set(task.classes)
        if repetition == 1:
            assert task.past == ()
        if repetition == 0:
            assert len(task.returning) == (0 if task.new else 1)


def test_classes_come_back_as_often_as_they_should() -> None:
    again = chances = 0
    for seed in range(200):
        for task in (
            stream_kind("repetition", num_tasks=20, order_seed=seed).scenario(Classes(10), 1).tasks[1:]
        ):
            again, chances = again + len(task.returning), chances + len(task.before)
    assert again / chances == pytest.approx(0.3, abs=0.01)


def test_the_seed_moves_repetitions_whatever_the_order() -> None:
    fixed, other = (stream_kind("repetition", order_seed=seed).tasks(Classes(10)) for seed in (0, 1))
    assert fixed != other
    shuffled = stream_kind("repetition", class_order="shuffled").scenario(Classes(10), 1)
    order = shuffled.classes
    assert [[order[label] for label in labels] for labels in fixed] == [
        list(t.classes) for t in shuffled.tasks
    ]


@pytest.mark.parametrize(
    ("arguments", "known", "message"),
    [
        (
            {"num_tasks": 2},
            (),
            r"scenario\.num_tasks=2: 10 classes, 2 new ones in each task, take 5; use 5 or more",
        ),
        ({"num_tasks": None}, range(10), r"scenario\.num_tasks=null: init_from already knows every class"),
        ({"repetition": 1.01}, (), r"scenario\.repetition=1\.01: use a number from 0 to 1"),
    ],
)
def test_streams_that_make_no_sense_are_refused(arguments: dict[str, Any], known: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stream_kind("repetition", **arguments).tasks(Classes(10), tuple(known))


def test_no_length_is_as_long_as_it_takes() -> None:
    assert len(stream_kind("repetition", num_tasks=None, classes_per_task=3).tasks(Classes(10))) == 4


# ---------------------------------------------------------------- what is measured


def test_forgetting_counts_from_the_best_earlier_value_of_a_class() -> None:
    rows = [{0: 0.9}, {0: 0.2, 1: 0.8}, {0: 0.7, 1: 0.6, 2: 0.5}]
    # class 0 came back in the last task and has recovered in part; class 2 is new in it
    assert continual.losses(rows) == pytest.approx({0: 0.2, 1: 0.2})
    better = [{0: 0.5}, {0: 0.9}]
    assert continual.forgetting(better) == pytest.approx(-0.4)


BACK_AGAIN = ["scenario=repetition", "scenario.tasks=[[2],[0,2],[2],[3,0]]"]


@pytest.mark.parametrize("strategy", tiny.STRATEGIES)
def test_every_strategy_trains_on_a_stream_with_repetition(
    compose: Compose, tmp_path: Path, strategy: str
) -> None:
    own = {
        "ewc": ["strategy.samples=4"],
        "mas": ["strategy.samples=4"],
        "ewc_seff": ["strategy.samples=4"],
        "experience_replay": ["strategy.capacity=6"],
        "deep_generative_replay": ["strategy.solver_steps=3"],
    }
    cfg = compose(*BACK_AGAIN, f"strategy={strategy}", "epochs=1", tiny.EVENTS, *own.get(strategy, []))
    metrics = experiment.run(cfg, tmp_path)
    with (tmp_path / "accuracy_matrix.csv").open(encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["task", "0", "2", "3"]
    filled = [[bool(cell) for cell in row[1:]] for row in rows]
    some, more, every = [False, True, False], [True, True, False], [True, True, True]
    assert filled == ([every] if strategy == "joint" else [some, more, more, every])
    assert ("forgetting" in metrics) == (strategy != "joint")
    own_content = checkpoint.read(tmp_path / "checkpoints" / "last.ckpt")["mergan"]
    assert (own_content["seen"], own_content["known"]) == ([2, 0, 3], [])
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if "accuracy/task_" in tag]
    assert len(tags) == len(rows)
    for number, tag in enumerate(sorted(tags)):  # no task is reported before it has begun
        assert len(events.Scalars(tag)) == len(rows) - number
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    told = "2,0,3" if strategy == "joint" else "2 | 0,(2) | (2) | 3,(0)"
    assert text.splitlines()[1] == f"# tasks: {told}"
    assert yaml.safe_load(text)["scenario"]["tasks"] == [[2], [0, 2], [2], [3, 0]]


@pytest.mark.parametrize(
    "overrides",
    [
        ["strategy=joint_retrain"],
        ["strategy=experience_replay", "strategy.capacity=6"],
        ["strategy=synaptic_intelligence"],
        ["strategy=ensemble"],
        ["strategy=ewc", "strategy.samples=4"],
        ["strategy=deep_generative_replay", "strategy.solver_steps=3"],
    ],
    ids=lambda words: " ".join(words),
)
def test_run_stopped_in_every_task_equals_an_uninterrupted_one(
    compose: Compose, tmp_path: Path, overrides: list[str]
) -> None:
    from torture.compare import differences

    stop = ["+callbacks.stop._target_=tiny.StopAt", "+callbacks.stop.epoch=-1"]
    cfg = compose(*BACK_AGAIN, *overrides, *stop, tiny.EVENTS, "epochs=[1,2,1,1]", "learner.ema=0.9")
    experiment.run(cfg, tmp_path / "reference")
    folder, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    for epoch in range(1, 5):
        cfg.callbacks.stop.epoch = epoch
        with pytest.raises(KeyboardInterrupt):
            experiment.run(cfg, folder)
        cfg.ckpt_path = str(last)
    cfg.callbacks.stop.epoch = -1
    experiment.run(cfg, folder)
    assert differences(folder, tmp_path / "reference") == []


def test_a_checkpoint_in_the_middle_of_a_task_is_measured_as_a_row_of_its_own(
    compose: Compose, tmp_path: Path
) -> None:
    """Also where the task brings no new class, so that the classes seen are those of the last row."""
    stop = ["+callbacks.stop._target_=tiny.StopAt", "+callbacks.stop.epoch=4"]
    cfg = compose(*BACK_AGAIN, "strategy=finetune", "epochs=[1,1,3,1]", *stop)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(cfg, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    measures = OmegaConf.create({"cache_dir": cfg.cache_dir, "trust": ["tiny"], "evaluation": cfg.evaluation})
    schema = config.compose(name="evaluate")
    for name, rows in (("last.ckpt", 2), ("task_01.ckpt", 1)):
        content = checkpoint.read(folder / name)
        matrix = content["callbacks"]["ContinualEvaluation"]["matrices"]["accuracy"]
        out = tmp_path / f"{name}.json"
        measure(OmegaConf.merge(schema, measures, {"checkpoint": str(folder / name), "out": str(out)}))
        figures = json.loads(out.read_text())
        best = max(row[2] for row in matrix[:rows])
        assert figures["forgetting_class_2"] == pytest.approx(best - figures["accuracy_class_2"])
        assert figures["accuracy_first_task"] == figures["accuracy_class_2"]


def test_every_order_of_several_runs_can_be_told(compose: Compose, tmp_path: Path) -> None:
    told = set()
    for seed in (0, 1):
        shuffled = [
            "scenario.class_order=shuffled",
            f"scenario.order_seed={seed}",
            "scenario.classes_per_task=1",
        ]
        experiment.run(compose("strategy=finetune", "epochs=1", tiny.EVENTS, *shuffled), tmp_path / str(seed))
        line = (tmp_path / str(seed) / "config.yaml").read_text(encoding="utf-8").splitlines()[1]
        stream = config.scenario(compose(*shuffled), 4)
        assert line == "# tasks: " + " | ".join(str(label) for label in stream.classes)
        told.add(line)
        events = next((tmp_path / str(seed) / "tensorboard").glob("events.*")).parent
        assert any(line.removeprefix("# tasks: ").encode() in path.read_bytes() for path in events.iterdir())
    assert len(told) == 2


def test_a_new_stream_may_bring_back_the_classes_of_an_old_one(compose: Compose, tmp_path: Path) -> None:
    experiment.run(compose("strategy=finetune", "scenario.tasks=[[2],[0]]", "epochs=1"), tmp_path / "old")
    path = tmp_path / "old" / "checkpoints" / "last.ckpt"
    old = checkpoint.read(path)["state_dict"]
    cfg = compose(
        *BACK_AGAIN,
        "strategy=ewc",
        "strategy.samples=4",
        "epochs=1",
        "lr=1e-30",
        f"init_from={path}",
        "scenario.tasks=[[2,3],[0]]",
    )
    experiment.run(cfg, tmp_path / "new")
    content = checkpoint.read(tmp_path / "new" / "checkpoints" / "task_00.ckpt")
    assert (content["mergan"]["seen"], content["mergan"]["known"]) == ([2, 0, 3], [2, 0])
    assert content["state_dict"]["strategy.classes_measured"] == 3
    key = "generator.norms.0.scale.weight"
    new = content["state_dict"][key]
    assert torch.equal(new[2], old[key][2])  # a class that comes back keeps what it has learned
    assert torch.allclose(new[3], old[key][[0, 2]].mean(dim=0))  # new ones start from all learned before


def test_the_estimate_counts_a_class_once(compose: Compose) -> None:
    cfg = compose(*BACK_AGAIN, "strategy=joint_retrain")
    assert estimate._of_stream(cfg, 4) == (3, 1)
    assert estimate._of_stream(cfg, None) == (1, 0)


# ---------------------------------------------------------------- strategies


def real(count: int, label: int) -> tuple[Tensor, Tensor]:
    return torch.full((count, 1, 16, 16), 0.123), torch.full((count,), label)


BACK = tasks([0, 1], [2, 0])[1]  # class 0 comes back, class 1 is past, class 2 is new
ALL_BACK = tasks([0, 1], [1, 0])[1]  # nothing is past


def built(strategy: Any) -> Any:
    strategy.build(nn.Identity(), 4, 1, 16)
    return strategy


@pytest.mark.parametrize(
    "strategy",
    [
        lambda: strategy_of("joint_retrain"),
        lambda: strategy_of("joint_retrain", mode="live"),
        lambda: strategy_of("retrain_and_align"),
        lambda: built(strategy_of("deep_generative_replay", solver_width=4)),
    ],
)
def test_only_past_classes_are_replayed(strategy: Callable[[], JointRetrain]) -> None:
    made, setting = strategy(), context(BACK)
    generative = isinstance(made, DeepGenerativeReplay)
    if generative:
        made.solver = Alternating(4, 1, 16, 4)
    made.begin_task(setting)
    batch = made.training_batch(*real(4, 2), setting)
    replays = batch.labels[4:]
    assert len(replays) and set(replays.tolist()) == ({0} if generative else {1})  # 0: its constant class
    if generative:
        assert set(made._judged(made.buffer.images).argmax(dim=1).tolist()) == {1}
        assert made.asked_classes(BACK) == (0,)
    else:
        assert made.asked_classes(BACK) == (0, 1, 2)


class Alternating(Solver):
    """Takes one replay for class 0, the next for class 1, and so on."""

    def forward(self, images: Tensor) -> Tensor:
        # told apart by the picture, so that a replay that is kept gets the same class again
        return nn.functional.one_hot((images.sum(dim=(1, 2, 3)) * 1000).long() % 2, 4).float()


@pytest.mark.parametrize("divide", [False, True])
def test_a_task_without_past_classes_is_trained_on_its_images_alone(divide: bool) -> None:
    setting = context(ALL_BACK)
    for made in (
        strategy_of("joint_retrain"),
        strategy_of("joint_retrain", mode="live"),
        built(strategy_of("experience_replay", capacity=8)),
        built(strategy_of("deep_generative_replay", solver_width=4)),
        Finetune(),
        strategy_of("replay_alignment", divide_by_classes=divide),
        strategy_of("retrain_and_align", divide_by_classes=divide),
    ):
        made.begin_task(setting)
        assert made.real_per_step(ALL_BACK, 8, setting.counts) == 8
        batch: TrainingBatch = made.training_batch(*real(8, 0), setting)
        assert len(batch.images) == 8 and batch.weights.tolist() == [1 / 8] * 8
        assert made.generator_terms(setting, tiny.NOTHING) == {}


def test_memory_rests_while_a_class_is_back_and_is_then_drawn_anew() -> None:
    strategy = built(strategy_of("experience_replay", capacity=12))
    first, second = tasks([0, 1], [2, 0])
    before = context(first)
    strategy.begin_task(before)
    strategy.end_task(before)
    held = {label: strategy.images[strategy.labels == label].clone() for label in (0, 1)}
    assert [len(images) for images in held.values()] == [6, 6]

    setting = context(second)  # whose real images of class 0 are others than those of the first task
    strategy.begin_task(setting)
    assert set(strategy.buffer.labels.tolist()) == {1}
    strategy.end_task(setting)
    assert strategy.labels.bincount(minlength=4).tolist() == [4, 4, 4, 0]
    available = {image.tobytes() for image in setting.real.images}
    kept = strategy.images[strategy.labels == 0]
    assert {image.numpy().tobytes() for image in kept} <= available and len(kept.unique(dim=0)) == 4
    assert torch.equal(strategy.images[strategy.labels == 1], held[1][:4])
    strategy.check_state()


class Flat(nn.Module):
    """x = a for every class: all of them matter to the one weight alike."""

    def __init__(self) -> None:
        super().__init__()
        self.shade = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.shade.expand(len(z), 4).unflatten(1, (1, 2, 2))


def flat_context(index: int, *classes: list[int]) -> Context:
    generator, snapshot = Flat(), Flat().requires_grad_(False)
    return context(tasks(*classes)[index], generator=generator, snapshot=snapshot, latent_dim=3)


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_importance_counts_a_class_once_however_often_it_comes_back(decay: float) -> None:
    stream = ([0], [1], [0], [1, 0], [2, 1])
    strategy = strategy_of("mas", samples=4, decay=decay)
    strategy.build(Flat(), 4, 1, 2)
    found = []
    for index in range(len(stream)):
        strategy.end_task(flat_context(index, *stream))
        found.append(strategy.importance.item())
    one = found[0]
    if decay == 1:
        assert [value / one for value in found] == pytest.approx([1, 2, 2, 2, 3])
    else:
        assert [value / one for value in found] == pytest.approx([1, 1.5, 1.375, 2, 2.5])
    assert strategy.classes_measured == 3


@pytest.mark.parametrize("divide", [False, True])
def test_the_penalty_holds_for_the_past_classes_only(divide: bool) -> None:
    def penalty(*stream: list[int]) -> float:
        setting = flat_context(len(stream) - 1, *stream)
        with torch.no_grad():
            setting.generator.shade.add_(1.0)  # type: ignore[union-attr,operator]
        strategy = strategy_of("ewc", weight=2.0, samples=4, divide_by_classes=divide)
        strategy.build(setting.generator, 4, 1, 2)
        strategy.importance.fill_(len(setting.task.before))  # each class counts 1
        terms = strategy.generator_terms(setting, tiny.NOTHING)
        return terms["importance"].item() if terms else 0.0

    assert penalty([0, 1, 2], [3]) == pytest.approx(1.0 if divide else 3.0)
    assert penalty([0, 1, 2], [3, 0]) == pytest.approx(1.0 if divide else 2.0)
    assert penalty([0, 1, 2], [0, 1, 2]) == 0
