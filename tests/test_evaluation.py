"""The judge, the measures and what is written of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from omegaconf import DictConfig
from torch import Tensor

from mergan import checkpoint, experiment
from mergan.callbacks.evaluation import write_matrix
from mergan.data import cache, normalise
from mergan.data.image_set import ImageSet
from mergan.data.synthetic import Synthetic
from mergan.evaluation import continual
from mergan.evaluation.classifier import Classifier, load_or_train, train_classifier
from mergan.evaluation.evaluator import Evaluator, accuracy_on, sample

CLASSES = 4
STEPS = 60


@pytest.fixture(scope="module")
def sets(cache_dir: Path) -> tuple[ImageSet, ImageSet]:
    """Training and test images of four classes."""
    source = Synthetic(CLASSES, channels=1, train_per_class=60, test_per_class=30)
    train, test = (cache.load(source, split, 16, cache_dir) for split in ("train", "test"))
    return train, test


@pytest.fixture(scope="module")
def judge(sets: tuple[ImageSet, ImageSet]) -> Classifier:
    return train_classifier(sets[0], CLASSES, seed=0, augment=True, max_steps=STEPS)


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


def noise(z: Tensor, labels: Tensor) -> Tensor:
    """The same kind of noise for every class."""
    rng = torch.Generator().manual_seed(int(z.sum().abs().item() * 1e6))
    return torch.rand(len(z), 1, 16, 16, generator=rng) * 2 - 1


def evaluator(judge: Classifier, test: ImageSet) -> Evaluator:
    return Evaluator(
        judge, test, latent_dim=4, samples_per_class=20, reverse_per_class=40, reverse_steps=STEPS
    )


def test_judge_tells_the_classes_of_unseen_images_apart(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    assert accuracy_on(judge, sets[1]) > 0.9


def test_real_images_score_high_both_ways(judge: Classifier, sets: tuple[ImageSet, ImageSet]) -> None:
    train, test = sets
    measure = evaluator(judge, test)
    accuracies = measure.accuracy(RealImages(train), [2, 0, 3])
    assert list(accuracies) == [2, 0, 3]
    assert min(accuracies.values()) > 0.8
    assert measure.reverse_accuracy(RealImages(train), range(CLASSES)) > 0.85


def test_noise_scores_at_chance(judge: Classifier, sets: tuple[ImageSet, ImageSet]) -> None:
    measure = evaluator(judge, sets[1])
    assert sum(measure.accuracy(noise, range(CLASSES)).values()) / CLASSES == pytest.approx(0.25, abs=0.15)
    assert measure.reverse_accuracy(noise, range(CLASSES)) == pytest.approx(0.25, abs=0.2)


def test_pictures_of_another_class_count_as_wrong(judge: Classifier, sets: tuple[ImageSet, ImageSet]) -> None:
    train, test = sets
    real = RealImages(train)

    def swapped(z: Tensor, labels: Tensor) -> Tensor:  # 0 and 1 change places
        return real(z, torch.where(labels < 2, 1 - labels, labels))

    measure = evaluator(judge, test)
    accuracies = measure.accuracy(swapped, range(CLASSES))
    assert max(accuracies[0], accuracies[1]) < 0.2 and min(accuracies[2], accuracies[3]) > 0.8
    assert measure.reverse_accuracy(swapped, range(CLASSES)) == pytest.approx(0.5, abs=0.15)


def test_collapse_shows_in_the_reverse_accuracy_alone(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    train, test = sets
    real = RealImages(train)

    def collapsed(z: Tensor, labels: Tensor) -> Tensor:  # one picture per class
        return real(torch.zeros_like(z), labels)

    measure = evaluator(judge, test)
    assert min(measure.accuracy(collapsed, range(CLASSES)).values()) == 1
    assert measure.reverse_accuracy(collapsed, range(CLASSES)) < measure.reverse_accuracy(
        real, range(CLASSES)
    )


def test_evaluation_leaves_the_global_random_state_alone(
    judge: Classifier, sets: tuple[ImageSet, ImageSet]
) -> None:
    train, test = sets
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    measure = evaluator(judge, test)
    first = measure.accuracy(RealImages(train), [0, 1]), measure.reverse_accuracy(noise, [0, 1])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)  # nor does it depend on it
    assert (measure.accuracy(RealImages(train), [0, 1]), measure.reverse_accuracy(noise, [0, 1])) == first
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
    first = load_or_train(sets[0], CLASSES, "key", tmp_path, max_steps=5)
    (path,) = (tmp_path / "classifiers").iterdir()
    written = path.stat()
    second = load_or_train(sets[0], CLASSES, "key", tmp_path, max_steps=5)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (written.st_mtime_ns, written.st_ino)
    assert tiny.equal(tiny.state(first), tiny.state(second))
    assert not second.training


@pytest.mark.parametrize("broken", [b"", b"no classifier"], ids=["empty", "garbage"])
def test_broken_judge_is_trained_again(
    sets: tuple[ImageSet, ImageSet], tmp_path: Path, broken: bytes
) -> None:
    first = load_or_train(sets[0], CLASSES, "key", tmp_path, max_steps=5)
    (path,) = (tmp_path / "classifiers").iterdir()
    whole = path.stat().st_size
    path.write_bytes(broken)
    assert tiny.equal(tiny.state(first), tiny.state(load_or_train(sets[0], CLASSES, "key", tmp_path, 5)))
    assert path.stat().st_size == whole
    torch.save({"other": torch.zeros(3)}, path)
    assert tiny.equal(tiny.state(first), tiny.state(load_or_train(sets[0], CLASSES, "key", tmp_path, 5)))


def test_other_data_or_settings_get_a_judge_of_their_own(
    sets: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    train = sets[0]
    load_or_train(train, CLASSES, "key", tmp_path, max_steps=2)
    load_or_train(train, CLASSES, "other key", tmp_path, max_steps=2)
    load_or_train(train, CLASSES, "key", tmp_path, max_steps=3)
    load_or_train(train.subset(np.arange(50)), CLASSES, "key", tmp_path, max_steps=2)
    assert len(list((tmp_path / "classifiers").iterdir())) == 4


# ---------------------------------------------------------------- continual summaries

MATRIX = [{0: 0.9}, {0: 0.5, 1: 0.8}, {0: 0.6, 1: 0.9, 2: 1.0}]


def test_average_is_over_the_classes_seen() -> None:
    assert continual.average(MATRIX[1]) == pytest.approx(0.65)
    assert continual.average(MATRIX[2]) == pytest.approx(2.5 / 3)


def test_forgetting_is_the_fall_from_the_best_earlier_value() -> None:
    # class 0: 0.9 -> 0.6; class 1: 0.8 -> 0.9, it got better; class 2 had no time to be forgotten
    assert continual.forgetting_per_class(MATRIX) == pytest.approx({0: 0.3, 1: -0.1})
    assert continual.forgetting(MATRIX) == pytest.approx(0.1)
    assert continual.forgetting_per_class(MATRIX[:2]) == pytest.approx({0: 0.4})


def test_there_is_no_forgetting_after_one_task() -> None:
    assert continual.forgetting(MATRIX[:1]) is None


def test_matrix_file_has_a_line_per_task_and_a_column_per_class(tmp_path: Path) -> None:
    rows = [{2: 0.5}, {2: 0.25, 0: 1.0}]
    write_matrix(tmp_path / "matrix.csv", rows, ["cat", "dog", "a, b"])
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
    returned = experiment.run(compose(f"strategy={strategy}", "epochs=1"), tmp_path)
    last = 0 if strategy == "joint" else 1
    per_task = [
        name
        for i in range(last + 1)
        for name in (f"samples/task_{i:02d}.png", f"checkpoints/task_{i:02d}.ckpt")
    ]
    names = ["config.yaml", "metrics.json", "accuracy_matrix.csv", "metrics.csv", "checkpoints/last.ckpt"]
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("tensorboard/")}
    assert any("tfevents" in name for name in events)
    assert files - events == {*names, *per_task}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == returned
    expected = {"accuracy", "reverse_accuracy", "train_seconds", "images_per_second", "steps"}
    assert expected <= set(metrics)
    assert ("forgetting" in metrics) == (strategy == "finetune")  # one row knows of no forgetting
    assert all(isinstance(value, (int, float)) and value == value for value in metrics.values())
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
    assert len(run.data.train_set) == 4 * 24
