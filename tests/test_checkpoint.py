"""Checkpoints that are damaged, foreign or hostile: refused, with the one before them named."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
import warm
from omegaconf import DictConfig

from mergan import __version__, checkpoint, experiment
from mergan.errors import CheckpointError

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
    own = checkpoint.read(run / "checkpoints" / "last.ckpt")[checkpoint.KEY]
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


@pytest.mark.parametrize("content", [{"state_dict": {}}, {checkpoint.KEY: 3, "state_dict": {}}, [1, 2]])
def test_foreign_files_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not a checkpoint that mergan wrote"):
        checkpoint.read(path)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        checkpoint.read(path)
