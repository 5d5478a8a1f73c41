"""What is installed and what a run touches: pinned with hashes, no network, nothing written elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import tiny

PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    text = (tiny.ROOT / name).read_text(encoding="utf-8")
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in PIN.findall(text)}


def test_the_lock_pins_what_was_tested_with_a_hash_each() -> None:
    locked, tested = pins("requirements.lock"), pins("constraints.txt")
    assert {"torch", "lightning", "hydra-core", "torchmetrics", "filelock", "setuptools"} <= set(locked)
    assert not {name for name in set(locked) & set(tested) if locked[name] != tested[name]}
    entries = re.split(r"\n(?=[A-Za-z0-9])", (tiny.ROOT / "requirements.lock").read_text(encoding="utf-8"))
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry.split("\n")[0])
    for name in ("requirements.lock", "constraints.txt"):
        assert "://" not in (tiny.ROOT / name).read_text(encoding="utf-8")  # no index


NO_NETWORK = """
import os, socket

def refused(self, address):
    if self.family != socket.AF_UNIX:
        with open(os.environ["TOUCHED"], "a") as file:
            file.write(f"{address}\\n")
    raise OSError("no network here")

socket.socket.connect = socket.socket.connect_ex = refused
"""


def test_a_run_calls_nobody_and_writes_into_its_own_folders_only(tmp_path: Path) -> None:
    for name in ("home", "code", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "code" / "sitecustomize.py").write_text(NO_NETWORK)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))},
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(tmp_path / "code"),
        "TOUCHED": str(tmp_path / "touched"),
        "OMP_NUM_THREADS": "1",
    }
    check = "import socket; socket.create_connection(('127.0.0.1', 9))"
    subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, check=False)
    assert (tmp_path / "touched").read_text() == "('127.0.0.1', 9)\n"  # it would be noticed
    (tmp_path / "touched").unlink()
    result = subprocess.run(
        [sys.executable, str(tiny.ROOT / "train.py"), "debug=smoke", "strategy=joint_retrain"],
        cwd=tmp_path / "work", env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "touched").exists()
    assert not list((tmp_path / "home").rglob("*"))
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["cache", "runs"]


def test_a_module_started_by_name_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    for name in (
        "hydra",
        "omegaconf",
        "yaml",
        "numpy",
        "torch",
        "sympy",
        "tqdm",
        "filelock",
        "logging",
        "pathlib",
    ):
        (tmp_path / f"{name}.py").write_text(
            "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
        )
    for words, status in (
        (["mergan.report", "--help"], 0),
        (["mergan.sample", "checkpoint=no.ckpt"], 2),
        (["mergan"], 0),
        (["mergan", "evaluate", "checkpoint=no.ckpt"], 2),
        (["mergan.train", "batchsize=3"], 2),
    ):
        result = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == status, result.stderr
    assert not (tmp_path / "ran").exists()
    # it would have run
    subprocess.run([sys.executable, "-c", "import yaml"], cwd=tmp_path, check=True)
    assert (tmp_path / "ran").exists()
