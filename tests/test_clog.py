"""CLoG's protocol: its class orders, FID of whole tasks, and the summaries that are its figures."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from omegaconf import DictConfig
from test_data_sources import write_idx
from torch import Tensor
from torchvision.datasets import CIFAR10

from mergan import config
from mergan.checkpoints import file as checkpoint
from mergan.config.composition import node_of
from mergan.data import normalise
from mergan.data.image_set import ImageSet
from mergan.data.synthetic import Synthetic
from mergan.evaluation import absences, continual
from mergan.evaluation.evaluator import Evaluator
from mergan.evaluation.features.pixels import Pixels
from mergan.evaluation.metrics import Comparison, FeatureSet
from mergan.evaluation.metrics.fid import FID
from mergan.evaluation.metrics.fid_per_task import FIDPerTask
from mergan.output.reading import read_matrix
from mergan.reporting.groups import grouped
from mergan.reporting.runs import Run
from mergan.run import experiment, measurement
from mergan.scenarios.base import Scenario
from mergan.scenarios.classes import Classes
from mergan.system.errors import ConfigError

Compose = Callable[..., DictConfig]

# of linhaowei1/CLoG, dataloader/seq.py: the place of each class
PLACES = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [3, 9, 1, 8, 0, 2, 6, 4, 5, 7],
    [6, 0, 2, 8, 1, 9, 7, 3, 5, 4],
    [2, 6, 1, 5, 9, 8, 0, 4, 3, 7],
    [1, 5, 7, 2, 0, 3, 4, 6, 8, 9],
]
PER_TASK = "+evaluation.metrics.fid_per_task._target_=mergan.evaluation.metrics.fid_per_task.FIDPerTask"
TINY = ["+evaluation.metrics.fid_per_task.min_references=2", "evaluation.spaces.pixels.size=2"]
PIXELS = [PER_TASK, *TINY, "evaluation.features=[pixels]", "evaluation.metrics.fid=null"]


@pytest.mark.parametrize("order", range(5))
def test_every_class_has_the_place_that_the_source_gives_it(order: int) -> None:
    cfg = config.compose("experiment=clog_m5t", "sweep=clog_orders", f"seed={order}")
    stream = config.scenario(cfg, 10)
    assert [len(task.classes) for task in stream.tasks] == [2, 2, 2, 2, 2]
    assert [PLACES[order][label] for label in stream.classes] == list(range(10))
    by_hand = config.compose("experiment=clog_m5t", f"scenario.order={order}")
    assert config.scenario(by_hand, 10) == stream


def test_an_order_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^scenario\.order=5: scenario\.orders has 5, counted from 0$"):
        tiny.stream_kind("clog", order=5)
    with pytest.raises(ConfigError, match=r"^scenario\.orders\[1\]: unknown class 2"):
        tiny.stream_kind("clog", orders=[[0], [2]], order=1).scenario(Classes(2), epochs=1)
    with pytest.raises(ConfigError, match=r"^scenario\.order=0: init_from already knows every class of it$"):
        tiny.stream_kind("clog", orders=[[1, 0]]).scenario(Classes(2), epochs=1, known=[0, 1])


def measured_with(sets: tuple[ImageSet, ImageSet]) -> Evaluator:
    judge = tiny.classifier_of("plain", 1, 16, 4)
    return Evaluator(
        judge(), judge, sets[1], latent_dim=2, metrics={"fid_per_task": FIDPerTask(20), "fid": FID(20)},
        samples_per_class=8, references_per_class=20, spaces={"pixels": Pixels(size=4)},
        reverse_per_class=0, reverse_steps=1, seed=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sets(cache_dir: Path) -> tuple[ImageSet, ImageSet]:
    source = Synthetic(4, channels=1, train_per_class=20, test_per_class=20)
    return tuple(
        ImageSet(*(np.concatenate(part) for part in zip(*source.chunks(split, 16), strict=True)))
        for split in ("train", "test")
    )  # type: ignore[return-value]


def test_a_column_is_the_fid_of_all_images_of_a_task(sets: tuple[ImageSet, ImageSet]) -> None:
    train, test = sets
    measure, space = measured_with(sets), Pixels(size=4)

    def real(z: Tensor, labels: Tensor) -> Tensor:
        of_class = train.indices_of([int(labels[0])])
        return normalise(torch.from_numpy(train.take(of_class[: len(z)])[0]))

    def features(images: ImageSet, classes: list[int], count: int) -> FeatureSet:
        rows = np.concatenate([images.indices_of([label])[:count] for label in classes])
        return FeatureSet(space(torch.from_numpy(images.take(rows)[0])))

    stream = Scenario.from_classes([[3, 1], [0, 2]], epochs=1)
    first = measure.measure(real, [3, 1], tasks=stream.brought)
    last = measure.measure(real, [3, 1, 0, 2], tasks=stream.brought)
    expected = {
        task: FID(2)(Comparison(features(test, classes, 20), features(train, classes, 8)))
        for task, classes in ((0, [1, 3]), (1, [0, 2]))
    }
    assert last.per_task == {"fid_per_task_pixels": pytest.approx(expected)}
    assert first.per_task["fid_per_task_pixels"] == {0: pytest.approx(expected[0])}
    assert "fid_per_task_pixels" not in last.per_class and "fid_per_task_pixels" not in last.pooled
    joined = Scenario.from_classes([[3, 1], [0, 2]], epochs=1, joined=True)
    assert measure.measure(real, [3, 1, 0, 2], tasks=joined.brought).per_task == last.per_task


def test_too_few_generated_images_of_a_task_are_refused(sets: tuple[ImageSet, ImageSet]) -> None:
    measure = measured_with(sets)
    absences.check(measure, range(4), {0: (0, 1), 1: (2, 3)})
    with pytest.raises(ConfigError) as told:
        absences.check(measure, range(4), {0: (0,), 1: (1, 2, 3)})
    assert str(told.value) == (
        "evaluation.samples_per_class=8: fid_per_task_pixels takes 16 generated images of features with 16 "
        "dimensions, and 1 class has 8; use 16 or more, or evaluation.metrics.fid_per_task=null"
    )


def test_the_summaries_are_clogs_figures() -> None:
    rows = [{0: 10.0}, {0: 16.0, 1: 20.0}, {0: 12.0, 1: 28.0, 2: 5.0}]
    stream = Scenario.from_classes([[0, 1], [2, 3], [4, 5]], epochs=1)
    found = continual.figures({}, [{}, {}, {}], {"fid_per_task": False}, stream, {"fid_per_task": rows})
    assert found == pytest.approx(
        {
            "fid_per_task": 15.0,  # AFQ
            "fid_per_task_stream": (10 + 18 + 15) / 3,  # AIQ
            "fid_per_task_backward_transfer": -((12 - 10) + (28 - 20)) / 2,  # FR with its sign turned
            "fid_per_task_forgetting": ((12 - 10) + (28 - 20)) / 2,
            "fid_per_task_learned": 35 / 3,
            "fid_per_task_first_task": 12.0,
        }
    )


def stripes(labels: np.ndarray, side: int) -> np.ndarray:
    """Noisy stripes uint8 (N, side, side), whose direction depends on the class."""
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    angles = (np.pi * labels / 10)[:, None, None]
    waves = 127 + 90 * np.sin(across * np.cos(angles) + down * np.sin(angles))
    noise = np.random.default_rng(0).normal(0, 20, waves.shape)
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def write_data(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six training and six test images of each class, in the files that torchvision reads."""
    labels = np.tile(np.arange(10), 6)
    if name == "mnist":
        for prefix in ("train", "t10k"):
            write_idx(root / "MNIST" / "raw" / f"{prefix}-images-idx3-ubyte", stripes(labels, 28))
            write_idx(root / "MNIST" / "raw" / f"{prefix}-labels-idx1-ubyte", labels)
        return
    folder = root / CIFAR10.base_folder
    folder.mkdir()

    def write(file: str, content: dict[str, object]) -> str:
        (folder / file).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / file).read_bytes()).hexdigest()

    rows = np.repeat(stripes(labels, 32)[:, None], 3, axis=1).reshape(len(labels), -1)
    of = {"data": rows, "labels": labels.tolist()}
    sums = {file: write(file, of) for file, _ in (*CIFAR10.train_list, *CIFAR10.test_list)}
    meta = write(CIFAR10.meta["filename"], {CIFAR10.meta["key"]: [f"class {label}" for label in range(10)]})
    # the real files have other checksums
    for attribute in ("train_list", "test_list"):
        changed = [(file, sums[file]) for file, _ in getattr(CIFAR10, attribute)]
        monkeypatch.setattr(CIFAR10, attribute, changed)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": meta})


SHORT = [
    "epochs=1", "steps_per_epoch=1", "batch_size=4", "embedding_dim=8", "data.image_size=16",
    "data.download=false", "network.generator.width=4", "network.discriminator.width=4",
    "logger.tensorboard=null", "callbacks.samples=null", "trainer.accelerator=cpu",
    "evaluation.classifier_steps=1", "evaluation.reverse_steps=1", "evaluation.features=[pixels]",
    "evaluation.samples_per_class=8", "evaluation.spaces.pixels.size=2",
    "evaluation.metrics.fid_per_task.min_references=12",
]  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "data"),
    [("clog_m5t", "mnist"), ("clog_c10_5t", "cifar10")],
)
def test_recipe_measures_every_task_on_all_of_its_test_images(
    recipe: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the features, which take minutes."""
    write_data(data, tmp_path, monkeypatch)
    own = [f"data.root={tmp_path}", f"cache_dir={tmp_path / 'cache'}", "scenario.order=1"]
    cfg = config.compose(f"experiment={recipe}", *SHORT, *own)
    config.check(cfg)
    figures = experiment.run(cfg, tmp_path / "run")
    matrix = read_matrix(tmp_path / "run" / "fid_per_task_pixels_matrix.csv")
    assert matrix.per_task and matrix.classes == [f"task_{number:02d}" for number in range(1, 6)]
    assert [[value is not None for value in row] for row in matrix.rows] == np.tri(5, dtype=bool).tolist()
    values = np.array(matrix.rows, float)
    assert figures["fid_per_task_pixels"] == pytest.approx(np.mean(values[-1]), abs=1e-3)  # AFQ
    averages = np.nanmean(values, axis=1)
    assert figures["fid_per_task_pixels_stream"] == pytest.approx(averages.mean(), abs=1e-3)  # AIQ
    rate = np.mean(values[-1, :-1] - np.diag(values)[:-1])  # FR
    assert figures["fid_per_task_pixels_backward_transfer"] == pytest.approx(-rate, abs=1e-3)
    assert figures["evaluation_references_per_class"] == 6


def test_a_run_that_goes_on_and_mergan_evaluate_keep_the_earlier_rows(
    compose: Compose, cache_dir: Path, tmp_path: Path
) -> None:
    settings = ["strategy=finetune", "epochs=1", *PIXELS]
    figures = experiment.run(compose(*settings), tmp_path / "run")
    first, last = (tmp_path / "run" / "checkpoints" / name for name in ("task_00.ckpt", "last.ckpt"))
    names = [name for name in figures if name.startswith("fid_per_task_pixels")]
    assert len(names) == 6
    again = experiment.run(compose(*settings, f"ckpt_path={first}"), tmp_path / "again")
    assert {name: again[name] for name in names} == {name: figures[name] for name in names}
    own = [f"checkpoint={last}", f"cache_dir={cache_dir}", f"out={tmp_path / 'out.json'}"]
    measurement.measure(config.compose(*own, *tiny.MEASURES, *PIXELS, name="evaluate"))
    told = json.loads((tmp_path / "out.json").read_text())
    assert {name: told[name] for name in names} == {name: figures[name] for name in names}
    rows = checkpoint.read(last)["callbacks"]["ContinualEvaluation"]["per_task"]["fid_per_task_pixels"]
    assert told["fid_per_task_pixels_task_01"] == rows[1][0]


@pytest.mark.parametrize("key", ["order", "order_seed"])
def test_an_order_that_follows_the_seed_makes_no_setting_of_its_own(key: str) -> None:
    def settings(*orders: int) -> list[int]:
        runs = [
            Run(Path(str(seed)), {"seed": seed, "scenario": {key: order}})
            for seed, order in enumerate(orders)
        ]
        return [len(setting.runs) for setting in grouped(runs)]

    assert settings(0, 1, 2) == [3]
    assert settings(0, 1, 1) == [1, 2]


def test_the_file_names_the_tasks(compose: Compose, tmp_path: Path) -> None:
    experiment.run(compose("strategy=joint", "epochs=1", *PIXELS), tmp_path)
    with (tmp_path / "fid_per_task_pixels_matrix.csv").open() as file:
        heading, row = csv.reader(file)
    assert heading == ["task", "task_01", "task_02"] and all(row)


def test_the_protocol_is_what_evaluation_clog_says() -> None:
    node = node_of("evaluation", "evaluation=clog")
    assert node["samples_per_class"] * 2 == 2048
    assert [name for name, metric in node["metrics"].items() if metric is not None] == ["fid_per_task"]
