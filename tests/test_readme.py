"""Every command of the README runs, in the order in which it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import tiny
import warm

TEXT = (tiny.ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if not line.startswith("make ")]
SWEEP = next(line for line in COMMANDS if "epochs=30,50,100" in line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the example strategy, as the README says where to put it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "plugins" / "strategy").mkdir(parents=True)
    (folder / "plugins" / "stay_close.py").write_text(blocks("python")[0])
    (folder / "plugins" / "strategy" / "stay_close.yaml").write_text(blocks("yaml")[0])
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with this interpreter; training only with debug=smoke."""
    words = shlex.split(command)
    environment = {}
    if words[0].startswith("PYTHONPATH="):
        environment["PYTHONPATH"] = words.pop(0).removeprefix("PYTHONPATH=")
    assert words.pop(0) == "python", command
    if words[0] == "train.py":
        words[0] = str(tiny.ROOT / "train.py")
        if not any(word.startswith("ckpt_path=") or word == "debug=smoke" for word in words):
            words.append("debug=smoke")
    return warm.run(words, folder, environment)


def test_the_readme_shows_the_commands_a_newcomer_needs() -> None:
    for needed in (
        "ckpt_path=",
        "init_from=",
        "mergan.sample",
        "mergan.evaluate",
        "mergan.report",
        "-m strategy=",
    ):
        assert any(needed in command for command in COMMANDS), needed


def test_commands_run_in_order(folder: Path) -> None:
    for command in COMMANDS:
        shortened = command
        if command == SWEEP:  # 108 jobs are too many here; each key still varies
            shortened = re.sub(r"(epochs|batch_size|embedding_dim|lr)=([^,]+),[^ ]+", r"\1=\2", command)
        result = run(shortened, folder)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    assert (folder / "report" / "report.md").is_file()
    assert (folder / "samples.npz").is_file()


def test_files_and_keys_that_the_readme_names_exist() -> None:
    for path in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert (tiny.ROOT / path).exists(), path
    for group in ("strategy", "data", "scenario", "network", "objective", "experiment"):
        for name in re.findall(rf"`{group}=(\w+)`", TEXT):
            assert (tiny.ROOT / "conf" / group / f"{name}.yaml").is_file(), f"{group}={name}"
