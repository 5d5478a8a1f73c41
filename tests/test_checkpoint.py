"""Checkpoints that are damaged, foreign or hostile: refused, with the one before them named."""

from __future__ import annotations

import os
import pickle
import random
import re
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import warm
from omegaconf import DictConfig

from mergan import __version__
from mergan.checkpoints import contents
from mergan.checkpoints import file as checkpoint
from mergan.checkpoints.archive import read_archive
from mergan.run import experiment, trained
from mergan.system.errors import CheckpointError, MerganError

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """The run folder of two tasks."""
    folder = tmp_path_factory.mktemp("run")
    experiment.run(tiny.compose(cache_dir, "strategy=finetune", "epochs=1"), folder)
    return folder


@pytest.fixture
def checkpoints(run: Path, tmp_path: Path) -> Path:
    """A copy of its checkpoints, each of an own time."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for age, name in enumerate(("last.ckpt", "task_01.ckpt", "task_00.ckpt")):
        (folder / name).write_bytes((run / "checkpoints" / name).read_bytes())
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    return folder


def test_version_and_configuration_stand_in_the_file(run: Path) -> None:
    own = checkpoint.read(run / "checkpoints" / "last.ckpt")[contents.KEY]
    assert own["version"] == __version__
    assert own["config"]["strategy"] == {"_target_": "mergan.strategies.finetune.Finetune"}


def test_every_flipped_bit_is_found_or_harmless(checkpoints: Path) -> None:
    path = checkpoints / "last.ckpt"
    whole = path.read_bytes()
    expected = checkpoint.read(path)
    draw = random.Random(0)
    refused = []
    anywhere, in_directory = range(len(whole)), range(len(whole) - 4000, len(whole))
    for position in [position for where in (anywhere, in_directory) for position in draw.sample(where, 60)]:
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            content = checkpoint.read(path)
        except CheckpointError as error:
            refused.append(str(error))
        else:  # padding, and dates of the archive's entries
            assert tiny.equal(content, expected), f"byte {position}"
    assert len(refused) > 30
    for message in refused:
        assert message.endswith(f"; the one before it is {checkpoints / 'task_01.ckpt'}")
        assert "\n" not in message


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_cut_short_is_refused_and_the_last_whole_one_named(checkpoints: Path, share: float) -> None:
    for name in ("last.ckpt", "task_01.ckpt"):
        whole = (checkpoints / name).read_bytes()
        (checkpoints / name).write_bytes(whole[: int(share * len(whole))])
        os.utime(checkpoints / name, (1e9, 1e9))
    with pytest.raises(CheckpointError, match=rf"the one before it is {checkpoints / 'task_00.ckpt'}$"):
        checkpoint.read(checkpoints / "last.ckpt")


def test_a_missing_file_and_a_folder_without_others(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no such file$"):
        checkpoint.read(tmp_path / "last.ckpt")


class Bomb:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_never_executed(checkpoints: Path, tmp_path: Path, legacy: bool) -> None:
    path = checkpoints / "last.ckpt"
    content = checkpoint.read(path) | {"bomb": Bomb(tmp_path / "executed")}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    commands = [
        [str(tiny.ROOT / "train.py"), f"ckpt_path={path}", f"hydra.run.dir={tmp_path / 'new'}"],
        [str(tiny.ROOT / "train.py"), f"init_from={path}", f"hydra.run.dir={tmp_path / 'new'}"],
        ["-m", "mergan.sample", f"checkpoint={path}", f"out={tmp_path / 'samples.npz'}"],
        ["-m", "mergan.evaluate", f"checkpoint={path}"],
    ]
    for command in commands:
        result = warm.run(command, tmp_path, {})
        assert result.returncode == 2, result.stderr
        (line,) = result.stderr.splitlines()
        assert str(path) in line and "the one before it is" in line
        assert not (tmp_path / "executed").exists()
    torch.load(path, weights_only=False)  # it would have gone off
    assert (tmp_path / "executed").exists()


# ---------------------------------------------------------------- archives that torch.save does not write


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        read_archive(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save({"weights": torch.arange(6.0).reshape(2, 3), "words": ["a", 1, None]}, tmp_path / "x.pt")
    return tmp_path / "x.pt"


def test_what_torch_saves_is_read_as_plain_values(saved: Path) -> None:
    content = read_archive(saved)
    assert torch.equal(content["weights"], torch.arange(6.0).reshape(2, 3)) and content["words"] == [
        "a",
        1,
        None,
    ]
    torch.save(torch.nn.Linear(2, 2).state_dict(), saved)
    assert type(read_archive(saved)) is dict


def test_an_archive_that_inflates_is_refused_before_it_is_read(saved: Path) -> None:
    parts = entries(saved)
    write(saved, parts | {"x/data/9": bytes(2**26)}, zipfile.ZIP_DEFLATED)
    assert saved.stat().st_size < 2**17
    tracemalloc.start()
    assert "compressed" in refusal(saved)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("../x/data/0", "called"),
        ("/etc/x", "called"),
        ("x//data", "called"),
        ("y/data/0", "called"),
        ("x/.", "called"),
    ],
)
def test_entries_with_names_outside_are_refused(saved: Path, name: str, word: str) -> None:
    write(saved, entries(saved) | {name: b"1"})
    assert word in refusal(saved)


def test_more_in_the_file_than_the_archive_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(b"#!/bin/sh\n" + whole)
    assert "more in the file" in refusal(saved)
    parts = entries(saved)
    write(saved, {name: content for name, content in parts.items() if name != "x/data.pkl"})
    assert "not the entries" in refusal(saved)


def structure(saved: Path, old: bytes, new: bytes) -> None:
    """Change bytes of the pickle that says which tensors there are."""
    parts = entries(saved)
    assert parts["x/data.pkl"].count(old) == 1
    write(saved, parts | {"x/data.pkl": parts["x/data.pkl"].replace(old, new)})


def test_tensors_must_lie_in_their_storage(saved: Path) -> None:
    pickled = entries(saved)["x/data.pkl"]
    shape, stride = b"K\x02K\x03\x86", b"K\x03K\x01\x86"
    assert shape in pickled and stride in pickled
    for old, new, word in (
        (shape, b"K\x02K\xff\x86", "larger than its storage"),
        (shape, b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", "larger than its storage"),
        (stride, b"K\x09K\x01\x86", "outside its storage"),
        (stride, b"K\x00K\x00\x86", ""),
    ):
        torch.save({"weights": torch.arange(6.0).reshape(2, 3)}, saved)
        structure(saved, old, new)
        if word:
            assert word in refusal(saved)
    torch.save({"weights": torch.zeros(()).expand(1000, 1000)}, saved)
    assert "larger than its storage" in refusal(saved)


def test_a_storage_of_another_size_is_refused(saved: Path) -> None:
    parts = entries(saved)
    write(saved, parts | {"x/data/0": parts["x/data/0"][:-4]})
    assert "another size" in refusal(saved)


def test_values_that_share_each_other_twenty_times_over_are_refused(saved: Path) -> None:
    shared: list[object] = []
    for _ in range(20):
        shared = [shared] * 10
    torch.save(shared, saved)
    assert "share too much" in refusal(saved)
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    torch.save(deep, saved)
    assert "nested too deeply" in refusal(saved)
    torch.save({"number": 10**400}, saved)
    assert "64 bits" in refusal(saved)


# ---------------------------------------------------------------- keys, types and shapes

OTHERS = (None, True, -1, 10**12, "text", [], {}, [[0]], {"a": 1}, torch.zeros(3), float("nan"))


def places(tree: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Every place in nested dicts and lists; of the many tensors of networks and optimizers only some."""
    if isinstance(tree, dict):
        keys = list(tree)
        for key in keys if len(path) == 0 or path[0] not in ("state_dict", "loops") else keys[::9]:
            yield (*path, key)
            yield from places(tree[key], (*path, key))
    elif isinstance(tree, list) and tree:
        yield (*path, 0)
        yield from places(tree[0], (*path, 0))


def altered(tree: Any, path: tuple[Any, ...], value: object = ...) -> Any:
    """A copy with the entry at a place removed, or replaced by a value."""
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    if len(path) > 1:
        copy[path[0]] = altered(copy[path[0]], path[1:], value)
    elif value is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = value
    return copy


def test_any_key_removed_or_of_another_type_is_refused_or_harmless(run: Path, tmp_path: Path) -> None:
    whole = checkpoint.read(run / "checkpoints" / "task_00.ckpt")
    path = tmp_path / "altered.ckpt"
    draw, tried = random.Random(0), 0
    refused: list[tuple[MerganError, tuple[object, ...], object]] = []
    for number, place in enumerate(places(whole)):
        for value in (..., draw.choice(OTHERS))[: 1 + (number % 3 == 0)]:
            tried += 1
            torch.save(altered(whole, place, value), path)
            try:
                trained.load_generator(path)
                if tried % 48 == 0 and place[0] != "mergan":
                    own = ["strategy=finetune", "epochs=1", f"ckpt_path={path}"]
                    experiment.build_experiment(tiny.compose(tmp_path / "cache", *own), tmp_path / "run")
            except MerganError as error:
                refused.append((error, place, value))
    assert not [case for case in refused if case[0].exit_status != 2 or "\n" in str(case[0])]
    assert tried > 400 and len(refused) > 150


@pytest.mark.parametrize(("earlier", "version"), [(1, "0.1.0"), (2, "0.2.0"), (3, "0.3.0")])
def test_a_checkpoint_of_an_earlier_format_is_refused_with_the_version_that_reads_it(
    run: Path, tmp_path: Path, earlier: int, version: str
) -> None:
    content = checkpoint.read(run / "checkpoints" / "last.ckpt")
    content[contents.KEY]["format"] = earlier
    torch.save(content, tmp_path / "old.ckpt")
    told = rf"old\.ckpt: written in format {earlier}; .* reads format 4, mergan {re.escape(version)} reads"
    with pytest.raises(CheckpointError, match=told):
        checkpoint.read(tmp_path / "old.ckpt")


def test_a_configuration_of_endless_lists_is_refused_at_once(run: Path, tmp_path: Path) -> None:
    content = checkpoint.read(run / "checkpoints" / "last.ckpt")
    content[contents.KEY]["config"]["epochs"] = [1] * contents.MAX_VALUES
    torch.save(content, tmp_path / "endless.ckpt")
    with pytest.raises(CheckpointError, match=r"endless\.ckpt: .* config is of more than 30000 values"):
        checkpoint.read(tmp_path / "endless.ckpt")


@pytest.mark.parametrize("content", [{"state_dict": {}}, {contents.KEY: 3, "state_dict": {}}, [1, 2]])
def test_foreign_files_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not a checkpoint that mergan wrote"):
        checkpoint.read(path)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        checkpoint.read(path)


@pytest.mark.parametrize(("keep", "kept"), [("null", ["task_00", "task_01"]), ("1", ["task_01"]), ("0", [])])
def test_a_run_keeps_the_checkpoints_of_as_many_tasks_as_it_is_told(
    keep: str, kept: list[str], build: Callable[..., tiny.Run]
) -> None:
    run = build("strategy=finetune", "epochs=1", f"callbacks.checkpoint.keep_tasks={keep}").fit()
    assert [path.stem for path in sorted((run.folder / "checkpoints").iterdir())] == ["last", *kept]
