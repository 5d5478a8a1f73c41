"""Files appear whole or not at all, and what one process makes no second one makes at the same time."""

from __future__ import annotations

import errno
import fcntl
import io
import logging
import os
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import warm

from mergan.checkpoints import file as checkpoint
from mergan.output import loggers
from mergan.output.folder import RunFolder
from mergan.run import experiment
from mergan.system import files
from mergan.system.errors import ConfigError, StorageError
from mergan.system.interrupts import Interrupted

IMPORTS = "import pathlib\nfrom mergan.output.folder import RunFolder\nfrom mergan.system import files"


def elsewhere(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{IMPORTS}\n{code}"],
        cwd=tiny.ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_run_folder_belongs_to_one_process(tmp_path: Path) -> None:
    take = f"with files.locked(pathlib.Path({str(tmp_path)!r})): print('got it')"
    with files.locked(tmp_path):
        refused = elsewhere(take)
        with pytest.raises(ConfigError, match="another process"), files.locked(tmp_path):
            pass
    assert "ConfigError" in refused.stderr and str(tmp_path) in refused.stderr
    assert elsewhere(take).stdout == "got it\n"
    # a process that is killed lets go of it
    assert elsewhere(take.replace("print('got it')", "import os; os.kill(os.getpid(), 9)")).returncode == -9
    assert elsewhere(take).stdout == "got it\n"


KILLED = """
import os
def write(folder, name):
    with files.replacing(pathlib.Path(folder) / name) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("part", ["", "checkpoints", "samples", "tensorboard"])
def test_a_killed_run_leaves_nothing_that_the_next_start_does_not_sweep(tmp_path: Path, part: str) -> None:
    run = tmp_path / "run"
    strike = f"write({str(run / part)!r}, 'a b.ckpt')"
    code = f"{KILLED}\nwith RunFolder(pathlib.Path({str(run)!r})).locked(): {strike}"
    assert elsewhere(code).returncode == -9
    assert (run / ".lock").exists() and list((run / part).glob(".a b.ckpt.*.tmp"))
    with RunFolder(run).locked():
        assert [path.name for path in run.rglob("*") if path.is_file()] == [".lock"]
    assert not [path for path in run.rglob("*") if path.is_file()]


def test_sweeping_takes_nothing_but_temporaries(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    stale = ".x.12-0123abcd.tmp"
    kept = [
        ".x.tmp",
        "x.12-0123abcd.tmp",
        ".x.12-0123ABCD.tmp",
        ".x.12-0123abcd.tmp~",
        ".x.a-0123abcd.tmp",
        "x",
    ]
    for name in [*kept, stale]:
        (tmp_path / "run" / name).write_text("")
    (tmp_path / "elsewhere" / stale).write_text("another run's")
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "run" / ".y.12-0123abcd.tmp").symlink_to(tmp_path / "elsewhere" / stale)
    (tmp_path / "run" / ".z.12-0123abcd.tmp").mkdir()
    with RunFolder(tmp_path / "run").locked():
        pass
    others = [".y.12-0123abcd.tmp", ".z.12-0123abcd.tmp", "checkpoints"]
    assert sorted(os.listdir(tmp_path / "run")) == sorted([*kept, *others])
    assert os.listdir(tmp_path / "elsewhere") == [stale]
    files.sweep(tmp_path / "nowhere")


def test_what_a_killed_maker_left_is_tidied_but_not_what_is_held(tmp_path: Path) -> None:
    for name in ("made", "other"):
        code = f"{KILLED}\nwith files.alone(pathlib.Path({str(tmp_path / name)!r})): "
        assert elsewhere(f"{code}write({str(tmp_path)!r}, {name + '-part'!r})").returncode == -9
    (tmp_path / ".made-not.7-0123abcd.tmp").write_text("")
    (tmp_path / ".madeup.7-0123abcd.tmp").write_text("")
    (tmp_path / ".link.lock").symlink_to("nowhere")
    with files.alone(tmp_path / "held"):
        (tmp_path / ".held.7-0123abcd.tmp").write_text("")
        assert elsewhere(f"files.tidy(pathlib.Path({str(tmp_path)!r}))").returncode == 0
        left = [".held.7-0123abcd.tmp", ".held.lock", ".link.lock", ".madeup.7-0123abcd.tmp"]
        assert sorted(os.listdir(tmp_path)) == left
    with files.alone(tmp_path / "madeup"):
        assert sorted(os.listdir(tmp_path)) == [".held.7-0123abcd.tmp", ".link.lock", ".madeup.lock"]
    files.tidy(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["a link", "a FIFO", "a folder"])
def test_what_is_no_file_in_the_place_of_a_lock_is_refused_and_not_waited_for(
    tmp_path: Path, kind: str
) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    for lock, use in ((".lock", files.locked(tmp_path)), (".x.lock", files.alone(tmp_path / "x"))):
        path = tmp_path / lock
        make = {"a link": lambda path: path.symlink_to(other), "a FIFO": os.mkfifo, "a folder": Path.mkdir}[
            kind
        ]
        make(path)
        with pytest.raises(StorageError, match=rf"\.lock: is {kind}"), use:
            pass
        assert os.path.lexists(path)
    assert other.read_text() == "precious"


def test_a_lock_that_goes_while_others_wait_for_it_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    # each holder removes the file of its lock, so that who waits has opened one that is gone
    add = f"""
folder = pathlib.Path({str(tmp_path)!r})
for _ in range(60):
    with files.alone(folder / "sum"):
        inside = folder / "inside"
        inside.touch(exist_ok=False)
        old = int((folder / "sum").read_text()) if (folder / "sum").exists() else 0
        files.write_text(folder / "sum", str(old + 1))
        inside.unlink()
"""
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(elsewhere, [add] * 3))
    assert [result.returncode for result in results] == [0] * 3, results[0].stderr
    assert (tmp_path / "sum").read_text() == "180"
    assert os.listdir(tmp_path) == ["sum"]


def test_file_systems_without_locks_are_named_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*arguments: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with caplog.at_level(logging.WARNING), files.locked(tmp_path):
        pass
    assert "knows no locks" in caplog.text


def test_a_file_that_several_need_is_made_once_and_the_others_wait(tmp_path: Path) -> None:
    make = f"""
import logging, sys, time
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
target = pathlib.Path({str(tmp_path)!r}) / "made"
with files.alone(target):
    if not target.exists():
        print("making", flush=True)
        time.sleep(2)
        files.write_text(target, "made")
"""
    with ThreadPoolExecutor(3) as threads:
        outputs = [result.stdout for result in threads.map(elsewhere, [make] * 3)]
    assert sum("making" in output for output in outputs) == 1
    assert sum("waiting for another process" in output for output in outputs) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    with pytest.raises(type(failure)), files.replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_tensors_come_back_and_code_does_not(tmp_path: Path) -> None:
    files.save_atomically({"weights": torch.arange(3)}, tmp_path / "state.pt")
    assert torch.equal(files.load_tensors(tmp_path / "state.pt")["weights"], torch.arange(3))


@pytest.mark.parametrize("writes", [0, 1, 2, 5])
@pytest.mark.parametrize("signal", [KeyboardInterrupt(), Interrupted(2)])
def test_a_signal_in_the_middle_of_a_checkpoint_is_not_hidden_by_torch(
    writes: int, signal: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(io.FileIO):
        left = writes

        def write(self, data: Any) -> int:
            self.left -= 1
            if self.left == -1:
                raise signal
            return super().write(data)

    files.save_atomically({"weights": torch.arange(3)}, tmp_path / "state.pt")
    monkeypatch.setattr(Path, "open", lambda path, mode: Stopped(path, mode))
    with pytest.raises(type(signal)):
        files.save_atomically({"weights": torch.arange(4)}, tmp_path / "state.pt")
    monkeypatch.undo()
    assert torch.equal(files.load_tensors(tmp_path / "state.pt")["weights"], torch.arange(3))
    assert os.listdir(tmp_path) == ["state.pt"]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """The folder of a run that was killed in its second task."""
    folder = tmp_path_factory.mktemp("disk") / "run"
    experiment.run(tiny.compose(cache_dir, "strategy=finetune", "epochs=1", tiny.EVENTS), folder)
    shutil.copy(folder / "checkpoints" / "task_00.ckpt", folder / "checkpoints" / "last.ckpt")
    (folder / "metrics.json").unlink()
    return folder


@pytest.mark.parametrize("room", [1_000, 8_000, 30_000, 60_000])
def test_a_full_disk_ends_the_run_with_one_line_and_the_last_checkpoint_intact(
    started: Path, cache_dir: Path, tmp_path: Path, room: int
) -> None:
    # a limit on the size of files stands for the full disk: the system's answer comes in the same places
    run = tmp_path / "run"
    shutil.copytree(started, run)
    last = run / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    words = [str(tiny.ROOT / "train.py"), f"ckpt_path={last}", f"cache_dir={cache_dir}"]
    ended = subprocess.run(
        [sys.executable, *words],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    line = ended.stderr
    assert str(run) in line and "no room" in line and f"ckpt_path={last}" in line
    assert last.read_bytes() == before
    assert not list(run.rglob("*.tmp"))
    assert not (run / "metrics.json").exists()
    # with room again, the same command ends as if nothing had been
    rest = warm.run(words, tmp_path)
    assert rest.returncode == 0, rest.stderr
    assert checkpoint.read(last)["epoch"] == 1
    assert tiny.csv_rows(run) and tiny.event_steps(run)


def test_tables_that_were_cut_short_are_taken_up_where_they_are_whole(tmp_path: Path) -> None:
    log = loggers.CSVLog(tmp_path)
    for step in (5, 12, 125):
        log.log_metrics({"a": 0.5, "z": 1.0}, step=step)
    log.save()
    whole = (tmp_path / "metrics.csv").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "metrics.csv").write_bytes(whole[:cut])
        resumed = loggers.CSVLog(tmp_path, resume_step=50)
        resumed.log_metrics({"a": 0.25, "b": 0.5}, step=60)
        resumed.save()
        steps = [int(row["step"]) for row in tiny.csv_rows(tmp_path)]
        assert steps == [*[5, 12][: len(steps) - 1], 60], cut
    assert steps == [5, 12, 60]
