"""What a command may write over: nothing good, and files only where it is told to."""

from __future__ import annotations

import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mergan.output.places import check_output, check_output_folder
from mergan.system.errors import ConfigError, StorageError
from mergan.system.files import replacing, save_atomically, write_text


def refused(path: Path, overwrite: bool = True) -> str:
    with pytest.raises(ConfigError) as error:
        check_output(path, overwrite)
    message = str(error.value)
    assert message.startswith(f"out={path}") and "\n" not in message
    return message


def listen(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket must be short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def under_another_name(path: Path) -> None:
    save_atomically({"a": torch.zeros(3)}, path)


def cut_short(path: Path) -> None:
    under_another_name(path)
    path.write_bytes(path.read_bytes()[:-200])


def packed_anew(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/" + "x" * 400, "first")
        archive.writestr("a/data.pkl", "then")


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "a folder"),
    "fifo": (os.mkfifo, "a FIFO"),
    "socket": (listen, "a socket"),
    "link to a file": (lambda path: path.symlink_to(__file__), "a link"),
    "link to a folder": (lambda path: path.symlink_to("/"), "a link"),
    "link to a device": (lambda path: path.symlink_to("/dev/null"), "a link"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "a link"),
    "link to itself": (lambda path: path.symlink_to(path), "a link"),
    "checkpoint": (under_another_name, "a checkpoint"),
    "checkpoint cut short": (cut_short, "a checkpoint"),
    "checkpoint packed anew": (packed_anew, "a checkpoint"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_must_never_be_replaced_is_refused_even_with_overwrite(name: str, tmp_path: Path) -> None:
    make, words = KINDS[name]
    make(tmp_path / "out.npz")
    before = os.lstat(tmp_path / "out.npz")[:7]
    assert words in refused(tmp_path / "out.npz")
    assert os.lstat(tmp_path / "out.npz")[:7] == before and os.listdir(tmp_path) == ["out.npz"]


@pytest.mark.parametrize("path", ["/dev/null", "/dev/full", "/dev/stdout", "/proc/self/mem", "/", ".", ".."])
def test_devices_and_places_of_the_system_are_refused(path: str) -> None:
    refused(Path(path))


@pytest.mark.parametrize(
    "name", ["new.ckpt", "NEW.CKPT", "x" * 250, "file/out.npz", "nul\0.npz", "loop/out.npz"]
)
def test_names_under_which_nothing_can_be_written_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match=r"^out"):
        check_output(tmp_path / name, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]


def test_a_file_is_replaced_only_where_the_command_says_so(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "old.npz", images=np.zeros(3))
    assert "overwrite=true" in refused(tmp_path / "old.npz", overwrite=False)
    assert check_output(tmp_path / "old.npz", overwrite=True) == tmp_path / "old.npz"
    assert check_output(tmp_path / "not" / "yet" / "new.npz") == tmp_path / "not" / "yet" / "new.npz"
    assert os.listdir(tmp_path) == ["old.npz"]  # looking leaves nothing


def test_the_home_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_output(Path("~/out.npz")) == tmp_path / "out.npz"
    with pytest.raises(ConfigError, match="home folder"):
        check_output(Path("~no_such_user/out.npz"))


@pytest.mark.parametrize("mark", ["config.yaml", "checkpoints"])
@pytest.mark.parametrize(
    "name",
    ["config.yaml", "metrics.json", "metrics.csv", "kid_matrix.csv", "matrices.png", ".lock",
     "samples/task_07.png", "samples/real.png", "tensorboard/events.out.tfevents.1", "checkpoints/x.ckpt"],
)  # fmt: skip
def test_files_of_a_run_folder_are_refused_whether_they_are_there_or_not(
    mark: str, name: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    if mark == "config.yaml":
        (run / "checkpoints").rmdir()
        (run / mark).write_text("seed: 0\n")
    refused(run / name)
    (tmp_path / "link").symlink_to(run)
    refused(tmp_path / "link" / name)
    for own in ("figures.json", "samples.npz", "samples/mine.npz"):
        assert check_output(run / own)


def test_a_folder_for_results_is_no_run_and_no_file(tmp_path: Path) -> None:
    run, results = tmp_path / "run", tmp_path / "results"
    (run / "checkpoints").mkdir(parents=True)
    results.mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(results)
    (tmp_path / "to a run").symlink_to(run)
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for good in ("results", "link", "new", "new/below", "run/report"):
        assert check_output_folder(tmp_path / good) == tmp_path / good
    for bad in (
        "run",
        "run/checkpoints",
        "run/samples",
        "to a run",
        "file",
        "file/below",
        "dangling",
        "loop",
    ):
        with pytest.raises(ConfigError, match=r"^out="):
            check_output_folder(tmp_path / bad)
    assert not (tmp_path / "new").exists()


def test_what_has_changed_in_the_meantime_is_looked_at_again(tmp_path: Path) -> None:
    fifo, link, file, kept = (tmp_path / name for name in ("fifo", "link", "file", "kept"))
    with pytest.raises(StorageError, match="a FIFO"), replacing(fifo) as temporary:  # noqa: PT012
        temporary.write_text("new")
        os.mkfifo(fifo)
    with pytest.raises(StorageError, match="in the meantime"), replacing(file, new=True) as temporary:  # noqa: PT012
        temporary.write_text("new")
        file.write_text("somebody else's")
    assert file.read_text() == "somebody else's"
    kept.write_text("kept")
    with replacing(link) as temporary:
        temporary.write_text("new")
        link.symlink_to(kept)
    assert (link.read_text(), kept.read_text()) == ("new", "kept")  # the link is replaced, not where it leads
    with pytest.raises(StorageError, match="a folder"):
        write_text(tmp_path, "text")
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file", "kept", "link"]
