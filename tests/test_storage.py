"""Files appear whole or not at all, and what one process makes no second one makes at the same time."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from mergan import storage
from mergan.errors import ConfigError


def elsewhere(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import pathlib\nfrom mergan import storage\n{code}"],
        cwd=tiny.ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_run_folder_belongs_to_one_process(tmp_path: Path) -> None:
    take = f"with storage.locked(pathlib.Path({str(tmp_path)!r})): print('got it')"
    with storage.locked(tmp_path):
        refused = elsewhere(take)
        with pytest.raises(ConfigError, match="another process"), storage.locked(tmp_path):
            pass
    assert "ConfigError" in refused.stderr and str(tmp_path) in refused.stderr
    assert elsewhere(take).stdout == "got it\n"
    # a process that is killed lets go of it
    assert elsewhere(take.replace("print('got it')", "import os; os.kill(os.getpid(), 9)")).returncode == -9
    assert elsewhere(take).stdout == "got it\n"


def test_file_systems_without_locks_are_named_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*arguments: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with caplog.at_level(logging.WARNING), storage.locked(tmp_path):
        pass
    assert "knows no locks" in caplog.text


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file"
    storage.write_text(path, "old")
    with pytest.raises(type(failure)), storage.replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_tensors_come_back_and_code_does_not(tmp_path: Path) -> None:
    storage.save_atomically({"weights": torch.arange(3)}, tmp_path / "state.pt")
    assert torch.equal(storage.load_tensors(tmp_path / "state.pt")["weights"], torch.arange(3))
