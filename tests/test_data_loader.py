"""The loader of one epoch: which images, in which order, how many at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mergan.data.image_set import ImageSet
from mergan.data.loader import TaskLoader, steps_of_one_pass
from mergan.system.errors import DataError


def numbered(count: int, classes: int = 4) -> ImageSet:
    """Images whose first two pixels spell their number."""
    images = np.zeros((count, 1, 2, 2), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(count), 256)
    return ImageSet(images, np.arange(count) % classes)


def loader(image_set: ImageSet, classes: list[int], **changes: Any) -> TaskLoader:
    arguments: dict[str, Any] = {"real_per_step": 8, "num_steps": None, "seed": 0, "epoch": 0}
    return TaskLoader(image_set, classes, **arguments | changes)


def delivered(batches: TaskLoader) -> list[list[int]]:
    return [(images[:, 0, 0, 0].int() * 256 + images[:, 0, 0, 1]).tolist() for images, _ in batches]


def flattened(steps: list[list[int]]) -> list[int]:
    return [number for step in steps for number in step]


def test_one_pass_covers_each_image_of_the_task_and_no_other() -> None:
    batches = loader(numbered(400), [1, 3], real_per_step=32)
    steps = delivered(batches)
    assert len(steps) == len(batches) == 7  # 200 images
    assert {len(step) for step in steps} == {32}
    flat = flattened(steps)
    assert sorted(flat[:200]) == [i for i in range(400) if i % 2]
    assert flat[200:] == flat[:24]
    assert {label for _, labels in batches for label in labels.tolist()} == {1, 3}


def test_batches_are_fresh_tensors() -> None:
    image_set = numbered(40)
    images, labels = next(iter(loader(image_set, [0, 1])))
    assert images.shape == (8, 1, 2, 2) and images.dtype == torch.uint8
    assert labels.shape == (8,) and labels.dtype == torch.int64
    before = image_set.images.copy()
    images.zero_()
    assert np.array_equal(image_set.images, before)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    image_set = numbered(200)
    batches = loader(image_set, [0, 1], num_steps=20)
    first = delivered(batches)
    np.random.seed(1)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert delivered(batches) == first == delivered(loader(image_set, [0, 1], num_steps=20))
    assert torch.equal(torch.get_rng_state(), state)
    assert delivered(loader(image_set, [0, 1], num_steps=20, epoch=1)) != first
    assert delivered(loader(image_set, [0, 1], num_steps=20, seed=1)) != first


def test_fixed_steps_chain_shuffled_passes() -> None:
    steps = delivered(loader(numbered(40), [0, 1], num_steps=10))
    flat = flattened(steps)
    assert len(steps) == 10 and len(flat) == 80
    for start in range(0, 80, 20):
        assert len(set(flat[start : start + 20])) == 20
    assert flat[:20] != flat[20:40]


def test_a_task_smaller_than_a_batch_still_fills_it() -> None:
    steps = delivered(loader(numbered(12), [0], real_per_step=8))
    assert len(steps) == 1 and len(steps[0]) == 8 and set(steps[0]) == {0, 4, 8}


@pytest.mark.parametrize("average", [6.4, 0.3, 0.5, 32 / 3, 1.0])
def test_fractional_averages_come_out_right(average: float) -> None:
    fixed = loader(numbered(400), [0, 1], real_per_step=average, num_steps=90)
    sizes = [len(step) for step in delivered(fixed)]
    assert set(sizes) <= {int(average), int(average) + 1}
    assert sum(sizes) == int(90 * average + 0.5)
    steps = delivered(loader(numbered(400), [0, 1], real_per_step=average))
    assert len(steps) == steps_of_one_pass(200, average)
    assert len(set(flattened(steps))) == 200


def test_rounding_errors_add_no_step() -> None:
    assert [steps_of_one_pass(n, n / 10) for n in range(1, 500)] == [10] * 499
    assert steps_of_one_pass(1, 64) == 1
    assert steps_of_one_pass(100, 8, world_size=4) == 4


def test_processes_share_out_one_pass() -> None:
    shares = [
        delivered(loader(numbered(384), [0, 1], real_per_step=6.4, rank=rank, world_size=3))
        for rank in range(3)
    ]
    alone = delivered(loader(numbered(384), [0, 1], real_per_step=19.2))
    for step, *parts in zip(alone, *shares, strict=True):
        assert sorted(step) == sorted(image for part in parts for image in part)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    together = [number for steps in shares for number in flattened(steps)]
    assert len(together) == len(set(together)) == 192


def test_a_class_without_images_is_named() -> None:
    with pytest.raises(DataError, match=r"\[9\]"):
        loader(numbered(12), [0, 9])
