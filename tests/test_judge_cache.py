"""The cached judge: believed only where it is what training leaves, never run, never waited for."""

from __future__ import annotations

import logging
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from mergan.data.image_set import ImageSet
from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.features.inception import Inception
from mergan.evaluation.judge import load_or_train
from mergan.system.errors import DataError

TRAIN = ImageSet(np.zeros((8, 1, 16, 16), np.uint8), np.arange(8) % 2)


def judge(cache: Path) -> Classifier:
    return load_or_train(
        TRAIN, tiny.classifier_of("plain", 1, 16, 2), key="test", cache_dir=cache, max_steps=1
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a whole judge lies."""
    judge(tmp_path / "cache")
    (found,) = (tmp_path / "cache" / "classifiers").iterdir()
    return found


class Code:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


def altered(**changes: Any) -> Callable[[Path], None]:
    """The same file with other entries; None removes one."""

    def write(path: Path) -> None:
        state = dict(torch.load(path, weights_only=True)) | changes
        torch.save({key: value for key, value in state.items() if value is not None}, path)

    return write


def deflate(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(200 * 2**20))


HOSTILE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "text": lambda path: path.write_text("no judge"),
    "too large": lambda path: os.truncate(path, 10 * 2**30),
    "a code pickle": lambda path: path.write_bytes(pickle.dumps(Code(path.parent / "trace"))),
    "code in an archive": lambda path: torch.save({"trunk.0.weight": Code(path.parent / "trace")}, path),
    "compressed": deflate,
    "a bomb": bomb,
    "a list": lambda path: torch.save([1, 2], path),
    "a number": lambda path: torch.save(3, path),
    "nothing in it": lambda path: torch.save({}, path),
    "a key less": altered(**{"head.bias": None}),
    "a key more": altered(extra=torch.zeros(1)),
    "another shape": altered(**{"head.bias": torch.zeros(3)}),
    "another type": altered(**{"head.bias": torch.zeros(2, dtype=torch.float64)}),
    "integers": altered(**{"head.bias": torch.zeros(2, dtype=torch.int32)}),
    "a word": altered(**{"head.bias": "weights"}),
    "NaN": altered(**{"head.bias": torch.tensor([0.0, float("nan")])}),
    "infinity": altered(**{"head.weight": torch.full((2, 128), float("inf"))}),
    "a negative variance": altered(**{"trunk.1.running_var": -torch.ones(32)}),
    "sparse": altered(**{"head.bias": torch.zeros(2).to_sparse()}),
    "dangling link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_judge_that_training_cannot_have_left_is_trained_again(
    name: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    HOSTILE[name](path)
    with caplog.at_level(logging.WARNING):
        model = judge(path.parent.parent)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert [path.name] == os.listdir(path.parent)  # the trace of code would lie beside it
    assert all("\n" not in record.getMessage() for record in caplog.records)
    caplog.clear()
    again = judge(path.parent.parent)
    assert not caplog.records
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


@pytest.mark.parametrize("kind", ["a folder", "a FIFO"])
def test_what_cannot_be_replaced_is_named_before_training(kind: str, path: Path) -> None:
    path.unlink()
    {"a folder": os.mkdir, "a FIFO": os.mkfifo}[kind](path)
    with pytest.raises(DataError, match=rf"cache_dir=.*\.pt: is {kind}") as error:
        judge(path.parent.parent)
    assert "\n" not in str(error.value)


def test_a_link_is_replaced_and_not_followed(path: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    path.unlink()
    path.symlink_to(mine)
    judge(path.parent.parent)
    assert mine.read_text() == "precious" and not path.is_symlink()


def test_what_killed_processes_left_goes_with_the_next_start(path: Path) -> None:
    for name in (f".{path.name}.lock", f".{path.name}.12-0123abcd.tmp"):
        (path.parent / name).write_text("")
    judge(path.parent.parent)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("make", [bomb, lambda path: path.touch() or os.truncate(path, 10 * 2**30)])
def test_inception_weights_of_absurd_size_are_refused_unread(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "weights.pth"
    make(path)
    with pytest.raises(DataError, match=r"weights\.pth: not readable"):
        Inception(str(path), "")
