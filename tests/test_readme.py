"""Every command of the README and of docs/configuration.md runs, in the order in which it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import tiny
import warm

README = (tiny.ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = "docs/configuration.md"
PAGES = {"README.md": README, CONFIGURATION: (tiny.ROOT / CONFIGURATION).read_text(encoding="utf-8")}
LONGEST = 200  # lines of the README


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


COMMANDS = [
    line
    for text in PAGES.values()
    for block in blocks("bash", text)
    for line in block.splitlines()
    if not line.startswith("make ")
]
SWEEP = next(line for line in COMMANDS if "epochs=30,50,100" in line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder that sees the examples, as a checkout does."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(tiny.ROOT / "examples")
    return folder


def run(
    command: str, folder: Path, further: Sequence[str] = ("debug=smoke",)
) -> subprocess.CompletedProcess[str]:
    """Run a command with this interpreter; training only with these further settings."""
    words = shlex.split(command, comments=True)
    environment = {}
    if words[0].startswith("PYTHONPATH="):
        environment["PYTHONPATH"] = words.pop(0).removeprefix("PYTHONPATH=")
    program = words.pop(0)
    assert program in ("python", "mergan"), command
    if program == "mergan":  # the console script of an installed package
        words = ["-m", "mergan", *words]
    elif words[0] == "train.py":
        words[0] = str(tiny.ROOT / "train.py")
    trains = {"train", "search"} & set(words) or words[0].endswith("train.py")
    # two trials are enough
    words = [re.sub(r"^search\.(trials|jobs)=.*", r"search.\1=2", word) for word in words]
    if "sweep=seeds" in words:
        further = (*further, "seed=0")  # which comes before the preset
    if trains and not any(word.startswith("ckpt_path=") or word == "debug=smoke" for word in words):
        words += further
    return warm.run(words, folder, environment)


def test_the_readme_shows_the_commands_a_newcomer_needs() -> None:
    for needed in (
        "ckpt_path=",
        "init_from=",
        "mergan sample",
        "mergan evaluate",
        "mergan export",
        "mergan report",
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
    for file in ("report/index.html", "samples.npz", "film.webp", "generator.safetensors", "generator.md"):
        assert (folder / file).is_file(), file


def test_files_and_keys_that_the_readme_names_exist() -> None:
    for page, text in PAGES.items():
        for path in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", text):
            assert (tiny.ROOT / page).parent.joinpath(path).exists(), path
        for group in ("strategy", "learner", "data", "scenario", "network", "objective", "experiment"):
            for name in re.findall(rf"`{group}=(\w+)`", text):
                assert (tiny.ROOT / "conf" / group / f"{name}.yaml").is_file(), f"{group}={name}"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST


def test_the_strategy_of_the_readme_is_that_of_the_examples() -> None:
    example = (tiny.ROOT / "examples" / "strategy" / "stay_close.py").read_text(encoding="utf-8")
    assert blocks("python")[1] in example


def test_the_python_of_the_readme_runs(folder: Path) -> None:
    """On the run that the first commands leave."""
    code = blocks("python")[0].replace('["3", "7"]', '["0", "1"]')  # those that a smoke run learns
    (folder / "script.py").write_text(code, encoding="utf-8")
    result = warm.run([str(folder / "script.py")], folder, {"PYTHONPATH": str(tiny.ROOT)})
    assert result.returncode == 0, result.stderr
    assert (folder / "grid.png").is_file()
