"""Standard streams that are closed, full or abandoned cost no run and end in no traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tiny.ROOT)}

WORK = """
import logging, os, sys
from mergan.system import standard_streams
standard_streams.secure()
first = sys.stdout
standard_streams.secure()
assert sys.stdout is first
file = open("work", "w")
assert file.fileno() > 2
logging.basicConfig(stream=sys.stdout, level=logging.INFO)
for i in range(3000):
    print("line \\u65e5", i)
    print("error \\u65e5", i, file=sys.stderr)
    logging.info("logged %d", i)
os.write(2, b"of a library")
os.system("echo of a child; echo of a child >&2")
sys.stdin.read()
file.write("done")
"""


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command for bash, whose status is that of the program, not of what its output goes into."""
    return subprocess.run(
        ["bash", "-c", command + '; exit "${PIPESTATUS[0]}"'], cwd=folder, env=ENVIRONMENT | environment,
        capture_output=True, text=True, check=False, timeout=240, stdin=subprocess.DEVNULL,
    )  # fmt: skip


BROKEN = [">&-", "2>&-", "<&- >&- 2>&-", "| head -1", "2>&1 | head -c 5", "> /dev/full", "2> /dev/full",
          "> /dev/full 2>&1", "1< /dev/null", "2> /dev/full >&-"]  # fmt: skip


@pytest.mark.parametrize("python", ["", "-u", "-X dev"])
@pytest.mark.parametrize("redirection", BROKEN)
def test_the_work_is_done_whatever_becomes_of_the_streams(
    tmp_path: Path, redirection: str, python: str
) -> None:
    (tmp_path / "work.py").write_text(WORK)
    result = shell(f"{sys.executable} {python} work.py {redirection}", tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "work").read_text() == "done"  # and nothing that went to another descriptor
    for word in ("Traceback", "Exception ignored", "Logging error", "BrokenPipe"):
        assert word not in result.stdout + result.stderr


def test_a_full_disk_is_said_once_on_the_other_stream(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    out = shell(f"{sys.executable} work.py > /dev/full", tmp_path)
    assert out.stderr.count("standard output is lost") == 1
    error = shell(f"{sys.executable} work.py 2> /dev/full", tmp_path)
    assert error.stdout.count("standard error is lost") == 1
    assert error.stdout.count("line ") == 3000


def test_what_an_output_cannot_encode_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    result = shell(f"{sys.executable} work.py", tmp_path, PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert "line \\u65e5 0" in result.stdout and "error \\u65e5 0" in result.stderr


def test_streams_of_others_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    from mergan.system import standard_streams

    before = sys.stdout
    standard_streams.secure()
    assert sys.stdout is before
    print("captured")
    assert capsys.readouterr().out == "captured\n"


@pytest.mark.parametrize("redirection", [">&- 2>&-", "2>&1 | head -1", "> /dev/full 2> /dev/full"])
def test_training_goes_on_to_its_end(cache_dir: Path, tmp_path: Path, redirection: str) -> None:
    settings = [
        *tiny.SETTINGS,
        "strategy=finetune",
        "epochs=1",
        "callbacks.progress.bar=true",
        tiny.HEAT_MAPS,
    ]
    words = [str(tiny.ROOT / "train.py"), *settings, f"cache_dir={cache_dir}", "hydra.run.dir=run"]
    result = shell(f"{shlex.join([sys.executable, *words])} {redirection}", tmp_path)
    assert result.returncode == 0, result.stderr
    for name in ("metrics.json", "metrics.csv", "matrices.png", "checkpoints/last.ckpt"):
        assert (tmp_path / "run" / name).is_file()
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize(("redirection", "status"), [("2>&-", 2), ("2> /dev/full", 2), (">&-", 2)])
def test_a_refusal_keeps_its_status(tmp_path: Path, redirection: str, status: int) -> None:
    result = shell(
        f"{sys.executable} {tiny.ROOT / 'train.py'} epochs=0 hydra.run.dir=run {redirection}", tmp_path
    )
    assert result.returncode == status


def test_help_into_a_pager_that_is_left(tmp_path: Path) -> None:
    result = shell(f"{sys.executable} {tiny.ROOT / 'train.py'} --help | head -1", tmp_path)
    assert result.returncode == 0 and result.stderr == ""
