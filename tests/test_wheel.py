"""A wheel built from a clean copy, installed without the checkout, in a folder that holds nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import tiny

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
    "OMP_NUM_THREADS": "1"
}


def run(folder: Path, *words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and look at its exit status."""
    result = subprocess.run(
        list(map(str, words)), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == status, f"{result.stdout}\n{result.stderr}"
    return result


def clean_copy(folder: Path) -> None:
    """What git knows of the checkout, and nothing that lies beside it."""
    if not (tiny.ROOT / ".git").exists():
        left_out = shutil.ignore_patterns("__pycache__", ".*", "build", "*.egg-info", "runs", "cache")
        shutil.copytree(tiny.ROOT, folder, ignore=left_out)
        return
    for name in run(tiny.ROOT, "git", "ls-files", "-z").stdout.split("\0"):
        if (tiny.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tiny.ROOT / name, folder / name)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a fresh environment, which sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    clean_copy(folder / "copy")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "."]
    run(folder, *build, "./copy")
    shutil.rmtree(folder / "copy")
    run(folder, sys.executable, "-m", "venv", "--without-pip", "fresh")
    (wheel,) = folder.glob("*.whl")
    python = folder / "fresh" / "bin" / "python"
    run(folder, *pip, "--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel)
    # a path file that is named in a path file is not read: an editable install there stays unknown here
    (packages,) = (folder / "fresh" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python.parent


@pytest.fixture(scope="module")
def trained(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing lies but what `mergan train` has left."""
    folder = tmp_path_factory.mktemp("empty")
    run(folder, programs / "mergan", "train", "strategy=joint_retrain", "debug=smoke", "hydra.run.dir=run")
    return folder


def test_package_and_configuration_are_those_of_the_wheel(programs: Path, tmp_path: Path) -> None:
    code = "import mergan, mergan.config as c; print(mergan.__file__, c.CONF, mergan.__version__)"
    file, conf, _ = run(tmp_path, programs / "python", "-c", code).stdout.split()
    for path in map(Path, (file, conf)):
        assert path.is_relative_to(programs.parent)
    assert (Path(file).parent / "py.typed").is_file()
    wanted = {path.relative_to(tiny.ROOT / "conf") for path in (tiny.ROOT / "conf").rglob("*.yaml")}
    assert {path.relative_to(conf) for path in Path(conf).rglob("*.yaml")} == wanted


def test_it_trains_samples_evaluates_and_reports(programs: Path, trained: Path) -> None:
    last = "checkpoint=run/checkpoints/last.ckpt"
    assert (trained / "run" / "metrics.json").is_file()
    sampled = run(trained, programs / "python", "-m", "mergan.sample", last, "per_class=2")
    assert "6 images of 3 classes" in sampled.stdout
    words = ["evaluate", last, "evaluation=accuracy", "out=figures.json"]
    assert "accuracy" in run(trained, programs / "mergan", *words).stdout
    run(trained, programs / "mergan", "report", "run")
    left = {"cache", "figures.json", "report", "run", "samples.npz"}
    assert {path.name for path in trained.iterdir()} == left


def test_its_commands_name_themselves(programs: Path, trained: Path, tmp_path: Path) -> None:
    mergan, python = programs / "mergan", programs / "python"
    assert "  sample  " in run(tmp_path, mergan).stdout
    helped = run(tmp_path, mergan, "sample", "--help").stdout
    assert helped.startswith("usage: mergan sample RUN ")
    assert run(tmp_path, python, "-m", "mergan.sample", "--help").stdout == helped.replace(
        "mergan sample", "python -m mergan.sample"
    )
    refused = run(tmp_path, mergan, "train", "batchsize=3", status=2)
    assert (
        refused.stderr == "error: unknown key batchsize; did you mean batch_size? --cfg job shows all keys\n"
    )
    assert not any(tmp_path.iterdir())


def test_its_trainings_are_started_from_the_wheel_too(programs: Path, tmp_path: Path) -> None:
    """`mergan reproduce` runs its own package, whatever lies in the working directory."""
    (tmp_path / "mergan").mkdir()
    (tmp_path / "mergan" / "__init__.py").write_text("import pathlib; pathlib.Path('ran').touch()\n")
    words = ["reproduce", "table=cvae", "only=finetune", "out=out", "debug=smoke", "evaluation=accuracy"]
    assert "finetune_0: done" in run(tmp_path, programs / "mergan", *words).stdout
    assert not (tmp_path / "ran").exists()
