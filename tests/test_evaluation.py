"""The judge, the measures and what is written of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from omegaconf import DictConfig, OmegaConf
from tiny import metric_of
from torch import Tensor

from mergan import config
from mergan.checkpoints import file as checkpoint
from mergan.data import cache, normalise
from mergan.data.image_set import ImageSet
from mergan.data.synthetic import Synthetic
from mergan.evaluation import absences, continual, real
from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.evaluator import Evaluator, accuracy_on
from mergan.evaluation.features.judge import JudgeFeatures
from mergan.evaluation.judge import load_or_train
from mergan.evaluation.metrics import Comparison, Metric
from mergan.evaluation.metrics.diversity import Diversity
from mergan.evaluation.sampling import sample
from mergan.evaluation.training import train_classifier
from mergan.output.matrix import write_matrix
from mergan.reporting.comparisons import COSTS
from mergan.run import experiment
from mergan.run.measurement import measure
from mergan.scenarios.base import Scenario
from mergan.system.errors import ConfigError

CLASSES = 4
STEPS = 60
KINDS = ("first_task", "learned", "stream", "backward_transfer")  # of summaries that need a second task
FRESH = tiny.classifier_of("plain", 1, 16, CLASSES)


@pytest.fixture(scope="module")
def sets(cache_dir: Path) -> tuple[ImageSet, ImageSet]:
    """Training and test images of four classes."""
    source = Synthetic(CLASSES, channels=1, train_per_class=60, test_per_class=30)
    train, test = (cache.load(source, split, 16, cache_dir) for split in ("train", "test"))
    return train, test


@pytest.fixture(scope="module")
def judge(sets: tuple[ImageSet, ImageSet]) -> Classifier:
    return train_classifier(sets[0], FRESH, seed=0, augment=True, max_steps=STEPS)


class RealImages:
    """Hands out real images of the asked class in place of generated ones."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
        chosen = []
        for point, label in zip(z, labels.tolist(), strict=True):
            of_class = self.images.indices_of([label])
            row = int(point.sum().abs().item() * 1000) % len(of_class)  # z decides which
            chosen.append(self.images.take(of_class[row : row + 1])[0])
        return normalise(torch.from_numpy(np.concatenate(chosen)))


def test_real_images_in_place_of_generated_ones_are_all_different(sets: tuple[ImageSet, ImageSet]) -> None:
    train, _ = sets
    make = real.RealImages(train, seed=0)
    images, labels = sample(make, [2, 0], per_class=60, latent_dim=1, seed=0)
    for label in (2, 0):
        own = images[labels == label].flatten(1)
        theirs = torch.from_numpy(train.take(train.indices_of([label]))[0]).flatten(1)
        assert torch.equal(own.unique(dim=0), theirs.unique(dim=0))  # every one of them, as bytes
    again, _ = sample(make, [2], per_class=60, latent_dim=1, seed=0)
    assert torch.equal(again, images[:60])  # from the start


def noise(z: Tensor, labels: Tensor) -> Tensor:
    """The same kind of noise for every class."""
    rng = torch.Generator().manual_seed(int(z.sum().abs().item() * 1e6))
    return torch.rand(len(z), 1, 16, 16, generator=rng) * 2 - 1


def evaluator(judge: Classifier, test: ImageSet, **settings: Any) -> Evaluator:
    metrics: dict[str, Metric] = {
        "precision": metric_of("precision", k=3),
        "recall": metric_of("recall", k=3),
        "coverage": metric_of("coverage", k=3),
        "fid": metric_of("fid", min_references=100),
        "kid": metric_of("kid"),
        "diversity": Diversity(),
    }
    own = {"samples_per_class": 40, "references_per_class": 900, "spaces": {"judge": JudgeFeatures(judge)}}
    reverse = {"reverse_per_class": 40, "reverse_steps": STEPS}
    fixed = {"metrics": metrics, "fresh": FRESH, "seed": 0}
    return Evaluator(judge, test=test, latent_dim=4, **{**fixed, **own, **reverse, **settings})


def accuracy(measure: Evaluator, generate: Any, classes: Any) -> dict[int, float]:
    return measure.measure(generate, classes).per_class["accuracy"]


def test_judge_tells_the_classes_of_unseen_images_apart(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    assert accuracy_on(judge, sets[1]) > 0.9


def test_real_images_score_high_both_ways(judge: Classifier, sets: tuple[ImageSet, ImageSet]) -> None:
    train, test = sets
    measure = evaluator(judge, test)
    accuracies = accuracy(measure, RealImages(train), [2, 0, 3])
    assert list(accuracies) == [2, 0, 3]
    assert min(accuracies.values()) > 0.8
    assert measure.reverse_accuracy(RealImages(train), range(CLASSES)) > 0.85


def test_noise_scores_at_chance(judge: Classifier, sets: tuple[ImageSet, ImageSet]) -> None:
    measure = evaluator(judge, sets[1])
    assert sum(accuracy(measure, noise, range(CLASSES)).values()) / CLASSES == pytest.approx(0.25, abs=0.15)
    assert measure.reverse_accuracy(noise, range(CLASSES)) == pytest.approx(0.25, abs=0.2)


def test_pictures_of_another_class_count_as_wrong(judge: Classifier, sets: tuple[ImageSet, ImageSet]) -> None:
    train, test = sets
    real = RealImages(train)

    def swapped(z: Tensor, labels: Tensor) -> Tensor:  # 0 and 1 change places
        return real(z, torch.where(labels < 2, 1 - labels, labels))

    measure = evaluator(judge, test)
    accuracies = accuracy(measure, swapped, range(CLASSES))
    assert max(accuracies[0], accuracies[1]) < 0.2 and min(accuracies[2], accuracies[3]) > 0.8
    assert measure.reverse_accuracy(swapped, range(CLASSES)) == pytest.approx(0.5, abs=0.15)


def test_collapse_shows_in_everything_but_accuracy_and_precision(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    train, test = sets
    real = RealImages(train)

    def collapsed(z: Tensor, labels: Tensor) -> Tensor:  # one picture per class
        return real(torch.zeros_like(z), labels)

    measure = evaluator(judge, test)
    healthy, broken = (measure.measure(generate, range(CLASSES)) for generate in (real, collapsed))
    assert min(broken.per_class["accuracy"].values()) == 1
    for label in range(CLASSES):
        good, bad = (
            {name: row[label] for name, row in part.per_class.items() if row} for part in (healthy, broken)
        )
        assert bad["recall"] <= 0.05 < 0.6 < good["recall"]
        assert bad["coverage"] < 0.4 < 0.6 < good["coverage"]
        assert bad["diversity"] == pytest.approx(0, abs=1e-9)
        assert good["diversity"] == pytest.approx(1, abs=0.5)
        assert bad["kid"] > good["kid"]
    assert broken.pooled["fid"] > 2 * healthy.pooled["fid"]
    assert measure.reverse_accuracy(collapsed, range(CLASSES)) < measure.reverse_accuracy(
        real, range(CLASSES)
    )


def test_the_reverse_accuracy_of_an_augmenting_classifier_ignores_a_mark_at_a_fixed_place(
    sets: tuple[ImageSet, ImageSet],
) -> None:
    """Shapes are right, but a fine pattern whose phase depends on the class lies over them."""
    train, test = sets
    real = RealImages(train)
    sign = 1 - 2 * (torch.arange(16) % 2)  # alternates from pixel to pixel

    def marked(z: Tensor, labels: Tensor) -> Tensor:
        across, down = (1 - 2 * (labels % 2))[:, None, None], (1 - 2 * (labels // 2))[:, None, None]
        return (real(z, labels) + 0.4 * (across * sign + down * sign[:, None])[:, None]).clamp(-1, 1)

    def reverse(augment: bool) -> float:
        fresh = tiny.classifier_of("plain", 1, 16, CLASSES, augment_reverse=augment)
        measure = evaluator(fresh(), test, fresh=fresh, reverse_steps=2 * STEPS)
        return measure.reverse_accuracy(marked, range(CLASSES))

    assert reverse(augment=False) < 0.8 < 0.95 < reverse(augment=True)


def test_forgetting_of_a_class_is_positive_whichever_way_is_better(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    train, test = sets
    real = RealImages(train)

    def forgetful(z: Tensor, labels: Tensor) -> Tensor:  # class 0 has become class 1
        return real(z, labels.clamp(min=1))

    measure = evaluator(judge, test)
    before, after = measure.measure(real, [0]), measure.measure(forgetful, [0, 1])
    matrices = {name: [row, after.per_class[name]] for name, row in before.per_class.items()}
    stream = Scenario.from_classes([[0], [1]], epochs=1)
    figures = continual.figures(matrices, [before.pooled, after.pooled], measure.higher_is_better, stream)
    assert figures["forgetting"] > 0.8
    assert figures["recall_forgetting"] > 0.5
    assert figures["coverage_forgetting"] > 0.5
    assert figures["kid_forgetting"] > 0
    assert figures["accuracy_first_task"] < 0.2 < 0.45 < figures["accuracy"]
    assert figures["recall_first_task"] < figures["recall"]


def test_figures_need_images_enough_and_are_absent_otherwise(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    train, test = sets
    measured = evaluator(judge, test, samples_per_class=3).measure(RealImages(train), range(CLASSES))
    assert not measured.per_class["recall"]  # as many neighbours as samples
    assert len(measured.per_class["coverage"]) == CLASSES
    assert "fid" not in measured.pooled  # 12 generated images, and 128 features
    measured = evaluator(judge, test).measure(RealImages(train), range(CLASSES))
    assert not measured.per_class["fid"] and "fid" in measured.pooled  # 30 references per class, 120 in all
    few = evaluator(judge, test, references_per_class=3)
    measured = few.measure(RealImages(train), range(CLASSES))
    assert {name for name, row in measured.per_class.items() if row} == {"accuracy", "kid", "diversity"}
    assert set(measured.pooled) == {"kid"}
    assert few.conditions(range(CLASSES)) == {
        "evaluation_samples_per_class": 40,
        "evaluation_references_per_class": 3,
        "evaluation_features": "judge",
    }


def test_all_figures_come_from_the_same_images_of_a_class(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    """Each image is made once, and does not depend on which other classes are measured."""
    train, test = sets
    made: list[int] = []

    def counted(z: Tensor, labels: Tensor) -> Tensor:
        made.extend(labels.tolist())
        return RealImages(train)(z, labels)

    measure = evaluator(judge, test)
    both = measure.measure(counted, [2, 1])
    assert sorted(made) == [1] * 40 + [2] * 40
    alone = measure.measure(counted, [1])
    assert {name: row[1] for name, row in both.per_class.items() if row} == {
        name: row[1] for name, row in alone.per_class.items() if row
    }


def test_fid_with_fewer_generated_images_than_dimensions_is_refused(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    absences.check(evaluator(judge, sets[1], samples_per_class=32), range(CLASSES))  # 4 x 32 are 128
    with pytest.raises(ConfigError) as told:
        absences.check(evaluator(judge, sets[1], samples_per_class=31), range(CLASSES))
    assert str(told.value) == (
        "evaluation.samples_per_class=31: fid takes 128 generated images of features with 128 dimensions, "
        "and 4 classes have 124; use 32 or more, or evaluation.metrics.fid=null"
    )
    few_real = evaluator(judge, sets[1], samples_per_class=3, references_per_class=10)
    absences.check(few_real, range(CLASSES))  # FID is absent in any case


def test_run_with_too_few_generated_images_for_fid_is_refused_before_training(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"evaluation\.samples_per_class=4: fid takes 128 .* 4 classes have 16"
    ):
        experiment.run(compose("evaluation.metrics.fid.min_references=40"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_metric_cannot_take_the_name_of_another_figure(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.metrics\.accuracy"):
        evaluator(judge, sets[1], metrics={"accuracy": metric_of("recall")})


def test_evaluation_leaves_the_global_random_state_alone(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    train, test = sets
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    measure = evaluator(judge, test)
    first = accuracy(measure, RealImages(train), [0, 1]), measure.reverse_accuracy(noise, [0, 1])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)  # nor does it depend on it
    assert (accuracy(measure, RealImages(train), [0, 1]), measure.reverse_accuracy(noise, [0, 1])) == first
    assert np.array_equal(np.random.get_state()[1], numpy_before)


def test_samples_come_in_the_order_asked_for_and_depend_on_the_seed() -> None:
    def echo(z: Tensor, labels: Tensor) -> Tensor:
        assert len(labels.unique()) == 1  # batches of one class
        return z[:, :, None, None].tanh()

    images, labels = sample(echo, [3, 1], per_class=450, latent_dim=2, seed=0)
    again, other = (sample(echo, [3, 1], 450, 2, seed)[0] for seed in (0, 1))
    assert (images.shape, images.dtype) == ((900, 2, 1, 1), torch.uint8)
    assert labels.tolist() == [3] * 450 + [1] * 450
    assert torch.equal(images, again) and not torch.equal(images, other)


# ---------------------------------------------------------------- the cache of judges


def test_judge_is_trained_once_and_then_read(sets: tuple[ImageSet, ImageSet], tmp_path: Path) -> None:
    first = load_or_train(sets[0], FRESH, "key", tmp_path, max_steps=5)
    (path,) = (tmp_path / "classifiers").iterdir()
    written = path.stat()
    second = load_or_train(sets[0], FRESH, "key", tmp_path, max_steps=5)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (written.st_mtime_ns, written.st_ino)
    assert tiny.equal(tiny.state(first), tiny.state(second))
    assert not second.training


@pytest.mark.parametrize("broken", [b"", b"no classifier"], ids=["empty", "garbage"])
def test_broken_judge_is_trained_again(
    sets: tuple[ImageSet, ImageSet], tmp_path: Path, broken: bytes
) -> None:
    first = load_or_train(sets[0], FRESH, "key", tmp_path, max_steps=5)
    (path,) = (tmp_path / "classifiers").iterdir()
    whole = path.stat().st_size
    path.write_bytes(broken)
    assert tiny.equal(
        tiny.state(first), tiny.state(load_or_train(sets[0], FRESH, "key", tmp_path, max_steps=5))
    )
    assert path.stat().st_size == whole
    torch.save({"other": torch.zeros(3)}, path)
    assert tiny.equal(
        tiny.state(first), tiny.state(load_or_train(sets[0], FRESH, "key", tmp_path, max_steps=5))
    )


def test_other_data_or_settings_get_a_judge_of_their_own(
    sets: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    train = sets[0]
    load_or_train(train, FRESH, "key", tmp_path, max_steps=2)
    load_or_train(train, FRESH, "other key", tmp_path, max_steps=2)
    load_or_train(train, FRESH, "key", tmp_path, max_steps=3)
    load_or_train(train.subset(np.arange(50)), FRESH, "key", tmp_path, max_steps=2)
    assert len(list((tmp_path / "classifiers").iterdir())) == 4


# ---------------------------------------------------------------- continual summaries

MATRIX = [{0: 0.9}, {0: 0.5, 1: 0.8}, {0: 0.6, 1: 0.9, 2: 1.0}]


def test_average_is_over_the_classes_seen() -> None:
    assert continual.average(MATRIX[1]) == pytest.approx(0.65)
    assert continual.average(MATRIX[2]) == pytest.approx(2.5 / 3)


def test_forgetting_is_the_fall_from_the_best_earlier_value() -> None:
    # class 0: 0.9 -> 0.6; class 1: 0.8 -> 0.9, it got better; class 2 had no time to be forgotten
    assert continual.losses(MATRIX) == pytest.approx({0: 0.3, 1: -0.1})
    assert continual.forgetting(MATRIX) == pytest.approx(0.1)
    assert continual.losses(MATRIX[:2]) == pytest.approx({0: 0.4})


def test_forgetting_is_the_rise_from_the_lowest_where_lower_is_better() -> None:
    assert continual.losses(MATRIX, higher_is_better=False) == pytest.approx({0: 0.1, 1: 0.1})


def test_published_summaries_by_hand() -> None:
    # right after their tasks 0.9, 0.8, 1.0; later ones took 0.3 from the first and added 0.1 to the second
    assert continual.learned(MATRIX) == pytest.approx(0.9)
    assert continual.backward_transfer(MATRIX) == pytest.approx(-0.1)
    assert continual.backward_transfer(MATRIX, higher_is_better=False) == pytest.approx(0.1)
    assert continual.over_the_stream([0.9, 0.65, 2.5 / 3]) == pytest.approx((0.9 + 0.65 + 2.5 / 3) / 3)


def test_task_of_several_classes_is_forgotten_as_a_whole() -> None:
    # class 0 was best after the first task, class 1 after the second; their task at 0.8, then at 0.75
    rows = [{0: 1.0, 1: 0.6}, {0: 0.5, 1: 1.0, 2: 0.7}, {0: 0.4, 1: 0.6, 2: 0.9, 3: 0.2}]
    stream = Scenario.from_classes([[0, 1], [2], [3]], epochs=1)
    tasks = continual.by_task(rows, stream.brought)
    assert tasks == [
        pytest.approx({0: 0.8}),
        pytest.approx({0: 0.75, 1: 0.7}),
        pytest.approx({0: 0.5, 1: 0.9, 2: 0.2}),
    ]
    assert continual.forgetting(tasks) == pytest.approx((0.3 - 0.2) / 2)
    assert continual.average(continual.losses(rows)) == pytest.approx((0.6 + 0.4 - 0.2) / 3)  # per class
    assert continual.backward_transfer(tasks) == pytest.approx((-0.3 + 0.2) / 2)
    assert continual.learned(tasks) == pytest.approx((0.8 + 0.7 + 0.2) / 3)


def test_classes_known_before_the_stream_are_forgotten_but_were_not_learned_in_it() -> None:
    stream = Scenario.from_classes([[2], [3, 2]], epochs=1, known=[0, 1])
    assert stream.brought == {-1: (0, 1), 0: (2,), 1: (3,)}
    tasks = continual.by_task([{0: 1.0, 1: 0.8, 2: 0.5}, {0: 0.6, 1: 0.6, 2: 0.7, 3: 0.9}], stream.brought)
    assert continual.forgetting(tasks) == pytest.approx((0.3 - 0.2) / 2)
    assert continual.learned(tasks) == pytest.approx((0.5 + 0.9) / 2)
    assert continual.backward_transfer(tasks) == pytest.approx(0.2)


def test_a_summary_of_values_that_are_not_all_there_is_absent() -> None:
    assert continual.learned([{}, {0: 0.5, 1: 0.8}]) is None
    assert continual.backward_transfer([{}, {0: 0.5, 1: 0.8}]) is None
    assert continual.over_the_stream([None, 0.5]) is None


def test_figures_are_flat_and_hold_only_what_was_computed() -> None:
    kid = [{}, {0: 3.0, 1: 2.0}, {0: 5.0, 1: 1.0, 2: 6.0}]
    fid: list[dict[int, float]] = [{}, {}, {}]
    matrices = {"accuracy": MATRIX, "kid": kid, "fid": fid, "recall": fid}
    directions = {"accuracy": True, "kid": False, "fid": False, "recall": True}
    stream = Scenario.from_classes([[0], [1], [2]], epochs=1)
    pooled = [{"kid": 1.0}, {"kid": 2.0, "fid": 5.0}, {"kid": 9.0, "fid": 7.0}]
    figures = continual.figures(matrices, pooled, directions, stream)
    assert figures == pytest.approx(
        {
            "accuracy": 2.5 / 3,
            "forgetting": 0.1,
            "accuracy_learned": 0.9,
            "accuracy_stream": (0.9 + 0.65 + 2.5 / 3) / 3,
            "accuracy_backward_transfer": -0.1,
            "accuracy_first_task": 0.6,
            "kid": 9.0,
            "kid_average": 4.0,
            "kid_stream": 4.0,  # of the pooled values, as kid itself
            "kid_forgetting": 0.5,  # class 0 two worse, class 1 one better
            "kid_first_task": 5.0,
            "fid": 7.0,
        }
    )
    one = continual.figures({"accuracy": MATRIX[:1]}, [{}], directions, stream)
    assert one == {"accuracy": 0.9}  # no task to compare with


def test_there_is_no_forgetting_after_one_task() -> None:
    assert continual.forgetting(MATRIX[:1]) is None


def test_matrix_file_has_a_line_per_task_and_a_column_per_class(tmp_path: Path) -> None:
    rows = [{2: 0.5}, {2: 0.25, 0: 1.0}]
    write_matrix(tmp_path / "matrix.csv", rows, {0: "cat", 1: "dog", 2: "a, b"})
    assert (tmp_path / "matrix.csv").read_text().splitlines() == [
        'task,cat,"a, b"',
        "0,,0.5000",
        "1,1.0000,0.2500",
    ]


# ---------------------------------------------------------------- what a run writes


@pytest.mark.parametrize("strategy", ["finetune", "joint"])
def test_run_folder_holds_what_was_promised(
    compose: Callable[..., DictConfig], tmp_path: Path, strategy: str
) -> None:
    returned = experiment.run(
        compose(f"strategy={strategy}", "epochs=1", tiny.EVENTS, tiny.HEAT_MAPS), tmp_path
    )
    last = 0 if strategy == "joint" else 1
    per_task = [
        name
        for i in range(last + 1)
        for name in (f"samples/task_{i:02d}.png", f"checkpoints/task_{i:02d}.ckpt")
    ]
    matrices = ["accuracy", "precision", "recall", "density", "coverage", "kid", "diversity"]
    names = [
        "config.yaml",
        "metrics.json",
        "metrics.csv",
        "provenance.json",
        "matrices.png",
        "checkpoints/last.ckpt",
        "samples/real.png",
    ]
    names += [f"{name}_matrix.csv" for name in matrices]  # ten references are too few for FID
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("tensorboard/")}
    assert any("tfevents" in name for name in events)
    assert files - events == {*names, *per_task}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == returned
    expected = {"reverse_accuracy", *COSTS}
    assert expected | set(matrices) <= set(metrics)
    assert "fid" not in metrics
    conditions = {key: value for key, value in metrics.items() if key.startswith("evaluation_")}
    assert conditions.pop("evaluation_seconds") > 0
    assert conditions == {
        "evaluation_split": "test",
        "evaluation_samples_per_class": 4,
        "evaluation_references_per_class": 10,
        "evaluation_features": "judge",
        "evaluation_k": 2,
    }
    summaries = {f"{name}_{kind}" for name in matrices[1:] for kind in ("forgetting", *KINDS)}
    summaries |= {"forgetting", *(f"accuracy_{kind}" for kind in KINDS)}
    assert summaries & set(metrics) == (summaries if strategy == "finetune" else set())
    (logged,) = [row for row in tiny.csv_rows(tmp_path) if "coverage/average" in row][-1:]
    assert {"kid/average", "kid/pooled", "accuracy/average"} <= set(logged)
    assert {"after_task/recall", "after_task/kid", "after_task/kid_average"} <= set(
        tiny.event_steps(tmp_path)
    )
    assert ("forgetting" in metrics) == (strategy == "finetune")  # one row knows of no forgetting
    assert all(isinstance(value, (int, float, str)) and value == value for value in metrics.values())
    matrix = tiny.csv_rows(tmp_path, "accuracy_matrix.csv")
    assert [row["task"] for row in matrix] == [str(i) for i in range(last + 1)]
    assert list(matrix[-1]) == ["task", "0", "1", "2", "3"]
    shares = [float(value) for key, value in matrix[-1].items() if key != "task"]
    assert metrics["accuracy"] == pytest.approx(sum(shares) / 4, abs=1e-4)
    if strategy == "finetune":
        assert list(matrix[0]) == ["task", "0", "1"]


def test_evaluating_more_does_not_change_the_training(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    states = []
    for count in (2, 9):
        settings = [f"evaluation.samples_per_class={count}", f"callbacks.samples.columns={count}"]
        experiment.run(compose("network=upsample", *settings), tmp_path / str(count))
        states.append(checkpoint.read(tmp_path / str(count) / "checkpoints" / "last.ckpt")["state_dict"])
    assert tiny.equal(*states)


def test_validation_images_judge_in_place_of_the_test_images(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    run = tiny.build(compose("evaluation.split=val", "data.val_fraction=0.2"), tmp_path)
    assert len(run.evaluation.evaluator.test) == 4 * 6
    assert len(run.data.pool.train_set) == 4 * 24


def test_everything_but_the_accuracy_can_be_left_out(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    metrics = experiment.run(
        compose("evaluation=accuracy", "evaluation.reverse_per_class=0", "epochs=1"), tmp_path
    )
    measured = {"accuracy", "forgetting", "judge_accuracy", *(f"accuracy_{kind}" for kind in KINDS)}
    conditions = {"evaluation_split", "evaluation_samples_per_class"}
    assert set(metrics) == measured | conditions | {*COSTS}
    assert [path.name for path in tmp_path.glob("*_matrix.csv")] == ["accuracy_matrix.csv"]


def test_evaluate_measures_a_checkpoint_as_the_run_did(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    cfg = compose("strategy=finetune", "epochs=1", "scenario.class_order=[3,1,0,2]")
    final = experiment.run(cfg, tmp_path / "run")
    path, out = tmp_path / "run" / "checkpoints" / "last.ckpt", tmp_path / "figures.json"
    own = {"checkpoint": str(path), "out": str(out), "overwrite": True, "cache_dir": cfg.cache_dir}
    same = OmegaConf.create({**own, "evaluation": cfg.evaluation})
    measure(OmegaConf.merge(config.compose(name="evaluate"), same))
    again = json.loads(out.read_text())
    for key, value in final.items():
        if key not in (*COSTS, "judge_accuracy"):
            close = value if isinstance(value, str) else pytest.approx(value, rel=1e-9)
            assert again[key] == close, key
    assert "recall_class_3" in again and "kid_forgetting_class_1" in again

    ours = OmegaConf.merge(config.compose(name="evaluate"), same, {"images": "real"})
    measure(ours)
    ceiling = json.loads(out.read_text())
    assert ceiling["evaluation_images"] == "real" and ceiling["evaluation_samples_per_class"] == 4
    assert {"accuracy", "recall", "reverse_accuracy"} <= set(ceiling)
    assert not {key for key in ceiling if "forgetting" in key}
    assert ceiling["kid"] < again["kid"]
    ours.evaluation.samples_per_class = 31
    with pytest.raises(ConfigError, match=r"samples_per_class=31: class 0 has 30 real training images"):
        measure(ours)

    same.evaluation.k = 1  # earlier rows were measured otherwise: nothing to compare with
    measure(OmegaConf.merge(config.compose(name="evaluate"), same))
    other = json.loads(out.read_text())
    assert other["evaluation_k"] == 1 and "recall" in other
    assert "recall_forgetting" not in other and "forgetting" in other


class Sharpness(Metric):
    """A metric of one's own: the largest feature."""

    def __call__(self, comparison: Comparison) -> float:
        return comparison.generated.features.max().item()


def test_metric_of_ones_own_needs_a_class_and_an_entry(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    own = "+evaluation.metrics.sharpness._target_=test_evaluation.Sharpness"
    metrics = experiment.run(compose(own, "evaluation.metrics.kid=null", "epochs=1"), tmp_path)
    assert {"sharpness", "sharpness_forgetting", "sharpness_first_task"} <= set(metrics)
    assert "kid" not in metrics
    assert (tmp_path / "sharpness_matrix.csv").is_file()
    wrong = "+evaluation.metrics.other._target_=builtins.dict"
    with pytest.raises(ConfigError, match=r"evaluation\.metrics\.other.*use a Metric"):
        experiment.run(compose(wrong), tmp_path / "new")


def test_a_collapsed_class_is_warned_of_in_plain_words(
    compose: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tiny.build(
        compose(*tiny.PAINTER, "strategy=finetune", "epochs=1"), tmp_path
    )  # one picture per class
    run.fit()
    assert "there the pictures of a class are nearly all the same" in caplog.text
    caplog.clear()
    run.evaluation.matrices["diversity"][-1] = {0: 0.9, 1: 0.06, 2: 0.01}
    run.evaluation._warn_of_collapse(["zero", "one", "two"])
    assert "collapsed: two;" in caplog.text
    caplog.clear()
    run.evaluation.matrices["diversity_pixels"] = [{0: 0.1, 1: 0.7, 2: 0.9}]  # one background, many digits
    run.evaluation._warn_of_collapse(["zero", "one", "two"])
    assert "collapsed: zero, two;" in caplog.text
    assert "(diversity below 0.05, diversity_pixels below 0.2 of that of real ones)" in caplog.text
