"""Pictures that stay on disk: the same batches and runs to the bit, and memory that stays flat."""

from __future__ import annotations

import gc
import json
import threading
import tracemalloc
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import warm
from omegaconf import DictConfig
from torch import nn

from benchmarks.streaming import Measured
from mergan import config
from mergan.data import ahead, cache
from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.data.image_set import ImageSet
from mergan.data.loader import TaskLoader
from mergan.data.pool import ImagePool
from mergan.data.synthetic import Synthetic
from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.evaluator import accuracy_on
from mergan.run import automatic, replays
from mergan.run.build import build_pool
from mergan.system.errors import ConfigError


def both(folder: Path) -> tuple[ImageSet, ImageSet]:
    """The same images, mapped and in memory."""
    source = Synthetic(num_classes=4, channels=1, train_per_class=60, test_per_class=5)
    mapped, resident = (cache.load(source, "train", 16, folder, memory_limit=limit) for limit in (0, 2**30))
    assert isinstance(mapped.images, np.memmap) and not isinstance(resident.images, np.memmap)
    return mapped, resident


@pytest.mark.parametrize("settings", [{"num_steps": None}, {"num_steps": 40, "world_size": 2, "rank": 1}])
def test_batches_of_a_mapped_file_are_those_of_memory(tmp_path: Path, settings: dict[str, Any]) -> None:
    for sets in (both(tmp_path), [whole.subset(np.arange(239, 20, -2)) for whole in both(tmp_path)]):
        mapped, resident = (
            TaskLoader(part, [3, 1], real_per_step=6.4, seed=1, epoch=2, batches_per_step=2, **settings)
            for part in sets
        )
        for _ in range(2):  # an epoch may be asked for again
            steps = list(zip(mapped, resident, strict=True))
            assert len(steps) == len(mapped) and all(tiny.equal(*pair) for pair in steps)
            assert all(part.is_contiguous() for step, _ in steps for part in step)


def test_an_epoch_that_is_left_early_leaves_no_thread(tmp_path: Path) -> None:
    def readers() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("read-ahead")]

    steps = iter(TaskLoader(both(tmp_path)[0], [0], real_per_step=4, num_steps=10**6, seed=0, epoch=0))
    next(steps)
    assert readers()
    steps.close()  # type: ignore[attr-defined]
    assert not readers()


def test_reading_ahead_keeps_the_order_and_is_bounded() -> None:
    taken: list[int] = []

    def items() -> Iterable[int]:
        for number in range(20):
            taken.append(number)
            yield number

    results = ahead.ahead(lambda number: number**2, items())
    for number in range(20):
        assert next(results) == number**2
        assert len(taken) <= min(20, number + ahead.AHEAD + 1)
    assert next(results, None) is None


def test_an_error_comes_where_its_result_is_due() -> None:
    results = ahead.ahead(lambda number: 12 // number, [3, 2, 0, 1])
    assert [next(results), next(results)] == [4, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results, None) is None


def test_a_run_from_disk_is_equal_to_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for name, limit in (("mapped", 0), ("resident", 2**30)):
        monkeypatch.setattr(cache, "MEMORY_LIMIT", limit)
        overrides = ["strategy=deep_generative_replay", "strategy.solver_steps=4", "evaluation.split=val"]
        run = tiny.build(tiny.compose(tmp_path / name, *overrides), tmp_path / f"run {name}").fit()
        assert isinstance(run.data.pool.real_set._stored, np.memmap) == (name == "mapped")
        runs.append(run)
    mapped, resident = runs
    assert tiny.equal(tiny.state(mapped.module), tiny.state(resident.module))
    evaluators = [run.evaluation.evaluator for run in runs]
    assert tiny.equal(*(tiny.state(evaluator.judge) for evaluator in evaluators))
    assert len({evaluator.judge_accuracy(range(4)) for evaluator in evaluators}) == 1
    assert mapped.evaluation.matrices == resident.evaluation.matrices


def test_accuracy_batch_by_batch_is_that_of_all_images_at_once() -> None:
    model = tiny.classifier_of("plain", channels=1, image_size=16, num_classes=4)()
    pixels = np.random.default_rng(0).integers(0, 256, (450, 1, 16, 16), dtype=np.uint8)
    features, classes = model.look(torch.from_numpy(pixels))
    assert features.shape == (450, 128)
    labels = classes.numpy().copy()
    labels[:45] = (labels[:45] + 1) % 4
    assert accuracy_on(model, ImageSet(pixels, labels)) == pytest.approx(0.9, abs=1e-12)


PIXELS = 3 * 64**2


class Stage:
    """The most memory of Python and NumPy within the block, in MiB, beyond what was there before."""

    def __enter__(self) -> Stage:
        gc.collect()
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *unused: object) -> None:
        self.peak = (tracemalloc.get_traced_memory()[1] - self._before) / 2**20


class Averages(Classifier):
    """The quickest classifier: it sees the images averaged to four pixels."""

    def __init__(self, channels: int, image_size: int, num_classes: int, **settings: Any) -> None:
        trunk = nn.Sequential(nn.AvgPool2d(image_size // 2), nn.Flatten())
        super().__init__(trunk, 4 * channels, num_classes, 0.0, 1e-3, 1.0, 0.3, False)


PICTURES = [
    "data.source._target_=benchmarks.streaming.Noise", "data.image_size=64", "data.channels=3",
    "strategy=experience_replay", "strategy.capacity=20", "epochs=1", "steps_per_epoch=8",
    "evaluation.classifier=averages",
    f"+evaluation.classifiers.averages._target_={__name__}.Averages", "evaluation.features=[judge]",
    "evaluation.references_per_class=20", "evaluation.metrics.fid=null", "callbacks.real=null",
]  # fmt: skip


def pictures(folder: Path, count: int) -> DictConfig:
    """The configuration of a run with `count` training and `count` evaluation images."""
    counts = [f"data.source.{part}_per_class={count // 4}" for part in ("train", "test")]
    return tiny.compose(folder, *PICTURES, *counts)


def peaks(folder: Path, count: int) -> dict[str, float]:
    """The peaks of such a run, by stage."""
    cfg, found = pictures(folder, count), {}
    with Stage() as stage:
        build_pool(config.typed(cfg))
    found["caching"] = stage.peak
    with Stage() as stage:
        run = tiny.build(cfg, folder / "run")
    found["building, with the judge"] = stage.peak
    with Stage() as stage:
        run.fit()
    found["training and measuring"] = stage.peak
    assert run.evaluation.evaluator._judged  # on all evaluation images
    return found


def test_memory_does_not_follow_the_number_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = 4000 * PIXELS / 2**20  # MiB of the further pictures of one split
    tracemalloc.start()
    try:
        monkeypatch.setattr(cache, "MEMORY_LIMIT", 0)
        few, many = (peaks(tmp_path / str(count), count) for count in (1000, 5000))
        monkeypatch.setattr(cache, "MEMORY_LIMIT", 2**30)
        with Stage() as in_memory:
            build_pool(config.typed(pictures(tmp_path / "5000", 5000)))
    finally:
        tracemalloc.stop()
    for stage, peak in few.items():
        assert many[stage] - peak < more / 5, stage  # batches that are read ahead may differ by some
    assert in_memory.peak > 2 * more


def test_anonymous_memory_does_not_follow_the_number_of_pictures(tmp_path: Path) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("the system does not tell the anonymous memory of a process")
    small = [part for part in tiny.SETTINGS if not part.startswith(("data", "scenario", "epochs", "steps"))]
    found = []
    small += ["evaluation.classifier=plain", "data.source.test_per_class=20"]
    for count in ("1000", "5000"):
        words = ["-m", "benchmarks.streaming", "streamed", str(tmp_path / count), count, "2", "1", *small]
        done = warm.run(words, tiny.ROOT)
        assert done.returncode == 0, done.stderr
        found.append(Measured(**json.loads(done.stdout.splitlines()[-1])))
    few, many = found
    assert min(few.loader, many.loader, few.step, many.step) > 0
    for stage in ("caching", "loading"):  # later ones keep what the networks have freed
        assert many.peaks[stage] - few.peaks[stage] < 4000 * PIXELS / 2**20 / 2


class Endless(ImagePool):
    """A pool that says it has more images than any memory holds."""

    def counts(self, classes: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(classes, 10**13)


def test_replays_that_follow_the_number_of_images_must_fit(cache_dir: Path, tmp_path: Path) -> None:
    for strategy, refused in (
        (["joint_retrain"], True),
        (["deep_generative_replay"], True),
        (["joint_retrain", "strategy.mode=live"], False),
        (["joint_retrain", "steps_per_epoch=7"], False),  # no more than the task draws
        (["experience_replay", "strategy.capacity=8"], False),
    ):
        name, *more = strategy
        cfg = automatic.filled(tiny.compose(cache_dir, f"strategy={name}", "steps_per_epoch=null", *more))
        run = tiny.build(cfg, tmp_path)
        settings = config.typed(cfg)
        pool = Endless(
            run.data.pool.source, image_size=16, cache_dir=cache_dir, split="test", val_fraction=0.1
        )
        data = ClassIncrementalDataModule(
            pool, run.scenario, batch_size=8, steps_per_epoch=settings.steps_per_epoch, seed=0
        )
        check = partial(replays.check, settings, data, run.module)
        if not refused:
            check()
            continue
        with pytest.raises(
            ConfigError, match=r"^strategy.buffer_per_class=null: 10000000000000 replays"
        ) as e:
            check()
        assert "\n" not in str(e.value) and "past classes of task 2 need" in str(e.value)
