"""The data module, on its own and under a Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.data.pool import ImagePool
from mergan.data.synthetic import Synthetic
from mergan.scenarios.base import Scenario
from mergan.system.errors import ConfigError, DataError


def pool(cache_dir: Path, **changes: Any) -> ImagePool:
    source = Synthetic(num_classes=4, channels=1, train_per_class=20, test_per_class=5)
    settings = {"split": "test", "val_fraction": 0.1}
    return ImagePool(source, image_size=8, cache_dir=cache_dir, **settings | changes)


def module(images: ImagePool, scenario: Scenario, **changes: Any) -> ClassIncrementalDataModule:
    arguments: dict[str, Any] = {"batch_size": 4, "steps_per_epoch": None, "seed": 0}
    return ClassIncrementalDataModule(images, scenario, **arguments | changes)


class Recorder(LightningModule):
    """Learns nothing, remembers its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, Tensor, list[int]]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen.append((self.current_epoch, batch[0], batch[1].tolist()))
        return self.weight * 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(images: ImagePool, scenario: Scenario, **changes: Any) -> Recorder:
    recorder = Recorder()
    Trainer(
        max_epochs=scenario.total_epochs,
        reload_dataloaders_every_n_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(recorder, datamodule=module(images, scenario, **changes))
    return recorder


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_epoch_brings_the_classes_of_its_task(tmp_path: Path) -> None:
    seen = fit(pool(tmp_path), Scenario.from_classes([[0, 3], [1]], epochs=2)).seen
    assert [epoch for epoch, _, _ in seen] == [0] * 10 + [1] * 10 + [2] * 5 + [3] * 5
    for epoch, images, labels in seen:
        assert set(labels) <= ({0, 3} if epoch < 2 else {1})
        assert images.dtype == torch.float32 and images.shape == (4, 1, 8, 8)
        assert -1 <= images.min() < 0 < images.max() <= 1
    orders = [[label for at, _, labels in seen if at == epoch for label in labels] for epoch in (0, 1)]
    assert orders[0] != orders[1]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fixed_steps_follow_the_span_of_the_task(tmp_path: Path) -> None:
    joined = Scenario.from_classes([[0], [1], [2]], epochs=1, joined=True)
    seen = fit(pool(tmp_path), joined, steps_per_epoch=3, batches_per_step=5).seen
    assert len(seen) == 9
    assert {len(labels) for _, _, labels in seen} == {20}
    assert {label for _, _, labels in seen for label in labels} == {0, 1, 2}


def test_steps_follow_the_share_of_real_images(tmp_path: Path) -> None:
    scenario = Scenario.from_classes([[0], [1]], epochs=1)
    data = module(pool(tmp_path), scenario, real_per_step=lambda task: 4 / (1 + len(task.past)))
    assert [data.steps_per_epoch_of(task) for task in scenario.tasks] == [5, 10]


def test_evaluates_on_the_test_images_by_default(tmp_path: Path) -> None:
    data = pool(tmp_path)
    assert data.real_set is data.train_set
    assert (len(data.train_set), len(data.evaluation_set)) == (80, 20)
    assert data.class_names == ["0", "1", "2", "3"]
    assert data.shape == {"num_classes": 4, "channels": 1, "image_size": 8}
    assert data.counts([2, 0]) == {2: 20, 0: 20}


def test_validation_images_are_fixed_and_kept_from_training(tmp_path: Path) -> None:
    first, other = (pool(tmp_path, split="val", val_fraction=0.25) for _ in range(2))
    assert np.bincount(first.evaluation_set.labels).tolist() == [5] * 4
    assert first.counts(range(4)) == dict.fromkeys(range(4), 15)
    assert np.array_equal(first.evaluation_set.images, other.evaluation_set.images)
    held_out = {image.tobytes() for image in first.evaluation_set.images}
    assert not held_out & {image.tobytes() for image in first.train_set.images}


def test_cap_keeps_the_same_images_always(tmp_path: Path) -> None:
    first, other = (pool(tmp_path, max_per_class=7) for _ in range(2))
    assert first.counts(range(4)) == dict.fromkeys(range(4), 7)
    assert np.array_equal(first.real_set.images, other.real_set.images)
    assert (len(first.train_set), len(first.evaluation_set)) == (80, 20)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_loaders_stay_within_the_cap(tmp_path: Path) -> None:
    images = pool(tmp_path, max_per_class=3)
    seen = fit(images, Scenario.from_classes([[2]], epochs=2), steps_per_epoch=20).seen
    assert len({image.numpy().tobytes() for _, images, _ in seen for image in images}) == 3


def test_classes_too_small_for_validation_are_refused(tmp_path: Path) -> None:
    source = Synthetic(num_classes=2, channels=1, train_per_class=1, test_per_class=1)
    with pytest.raises(DataError, match=r"evaluation\.split=test"):
        ImagePool(source, image_size=8, cache_dir=tmp_path, split="val", val_fraction=0.1)


@pytest.mark.parametrize("key", ["data.val_fraction=1.0", "data.val_fraction=0.0"])
def test_a_share_out_of_range_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=key):
        tiny.compose(tmp_path, key)


@pytest.mark.parametrize("split", ["test", "val"])
def test_some_classes_in_an_order_of_their_own(split: str, tmp_path: Path) -> None:
    whole, kept = pool(tmp_path), pool(tmp_path, classes=["3", "1"], split=split)
    assert (kept.class_names, kept.num_classes) == (["3", "1"], 2)
    shown = kept.train_set if split == "test" else kept.evaluation_set
    for label, of_whole in ((0, 3), (1, 1)):
        those = {image.tobytes() for image in whole.train_set.images[whole.train_set.labels == of_whole]}
        images = shown.images[shown.labels == label]
        assert {image.tobytes() for image in images} <= those
        assert len(images) == (20 if split == "test" else 2)
    assert kept.fingerprint() != whole.fingerprint() == whole.source.fingerprint()
    assert kept.description() == {name: whole.description()[name] for name in ("3", "1")}


def test_all_classes_in_order_are_the_whole(tmp_path: Path) -> None:
    whole, same = pool(tmp_path), pool(tmp_path, classes=["0", "1", "2", "3"])
    assert np.array_equal(whole.train_set.labels, same.train_set.labels)
    assert whole.fingerprint() == same.fingerprint()


@pytest.mark.parametrize(("classes", "told"), [(["0", "cat\x1b"], r"cat\\x1b"), (["1", "1"], "twice")])
def test_classes_that_the_data_lacks_are_named(classes: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        pool(tmp_path, classes=classes)


def test_the_description_counts_the_whole_data_set(tmp_path: Path) -> None:
    described = pool(tmp_path, split="val", max_per_class=3).description()
    assert list(described) == ["0", "1", "2", "3"]
    assert {(each["train"], each["test"]) for each in described.values()} == {(20, 5)}
    assert len({each["identity"] for each in described.values()}) == 4
    assert described == pool(tmp_path).description()
