"""The package from Python: load, read_run, train."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import warm
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from PIL import Image

import mergan
from mergan.checkpoints import file as checkpoint
from mergan.output.plots import grids
from mergan.run import experiment

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def run(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run with an averaged generator."""
    folder = tmp_path_factory.mktemp("run")
    experiment.run(compose("strategy=finetune", "learner.ema=0.5", "callbacks.samples.columns=3"), folder)
    return folder


def settings(cache_dir: Path, *more: str) -> list[str]:
    return [*tiny.SETTINGS, "strategy=finetune", f"cache_dir={cache_dir}", *more]


def test_importing_the_package_takes_neither_torch_nor_hydra() -> None:
    code = "import sys, mergan; print({'torch', 'hydra', 'pandas', 'numpy'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (tiny.ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(example.splitlines()) <= 11
    (tmp_path / "example.py").write_text(example.replace('"seed=1"', '"seed=1", "debug=smoke"'))
    result = warm.run(["example.py"], tmp_path, {"PYTHONPATH": str(tiny.ROOT)})
    assert result.returncode == 0, result.stderr
    assert "task 3/3" in result.stdout and result.stderr == ""
    drawn, grid = (np.asarray(Image.open(tmp_path / name)) for name in
                   ("runs/first/samples/task_02.png", "grid.png"))  # fmt: skip
    assert np.array_equal(first_row(drawn, 10, side=64), first_row(grid, 10, side=64))


# ---------------------------------------------------------------- load


def test_images_are_those_of_the_command(run: Path, tmp_path: Path) -> None:
    last = run / "checkpoints" / "last.ckpt"
    words = [f"checkpoint={last}", "per_class=3", "seed=5", "classes=[3,0]"]
    assert warm.run(["-m", "mergan.sample", *words], tmp_path).returncode == 0
    generator = mergan.load(str(last))
    images, labels = generator.sample([3, "0"], per_class=3, seed=5)
    with np.load(tmp_path / "samples.npz") as arrays:
        assert np.array_equal(arrays["images"], images.numpy())
        assert np.array_equal(arrays["labels"], labels.numpy())
    assert images.dtype == torch.uint8 and images.shape == (6, 1, 16, 16)
    assert labels.tolist() == [3, 3, 3, 0, 0, 0]
    assert generator.class_names == generator.seen == ["0", "1", "2", "3"]
    everything, labels = generator.sample()
    assert len(everything) == 4 and labels.tolist() == [0, 1, 2, 3]


def first_row(picture: np.ndarray, columns: int, side: int) -> np.ndarray:
    """The generated images of the first class in a grid, with the frame around them."""
    top, left = tiny.frame(picture)
    gap = grids.GAP
    return picture[top : top + side + 2 * gap, left : left + columns * (side + gap) + gap]


def test_the_grid_is_that_of_the_run(run: Path) -> None:
    drawn = np.asarray(Image.open(run / "samples" / "task_01.png"))
    grid = mergan.load(run).grid(columns=3)
    assert np.array_equal(first_row(grid, 3, side=64), first_row(drawn, 3, side=64))
    other = mergan.load(run).grid(columns=3, seed=1)
    assert other.shape == grid.shape and not np.array_equal(other, grid)


def test_a_run_folder_stands_for_its_last_checkpoint(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    assert mergan.load(tmp_path / "run").seen == ["0", "1", "2", "3"]
    (checkpoints / "last.ckpt").unlink()
    shutil.move(checkpoints / "task_01.ckpt", checkpoints / "task_100.ckpt")
    shutil.copy(checkpoints / "task_00.ckpt", checkpoints / "task_99.ckpt")
    assert mergan.load(tmp_path / "run").seen == ["0", "1", "2", "3"]
    (checkpoints / "task_100.ckpt").unlink()
    first = mergan.load(tmp_path / "run")
    assert first.seen == ["0", "1"] and "0, 1" in repr(first)
    with pytest.raises(mergan.ConfigError, match=r"classes=\['2'\]: the generator has learned 0, 1$"):
        first.sample(["2"])
    with pytest.raises(mergan.CheckpointError, match="holds no checkpoint"):
        mergan.load(tmp_path)
    with pytest.raises(mergan.CheckpointError, match="no such file"):
        mergan.load(tmp_path / "nowhere")


@pytest.mark.parametrize("classes", [[], ["x"], [4], [-1], [True], [0.0], [None], "10"])
def test_classes_that_were_not_learned_are_refused(run: Path, classes: list[str | int]) -> None:
    with pytest.raises(mergan.ConfigError, match=r"^classes="):
        mergan.load(run).sample(classes)


def test_numbers_out_of_range_are_refused(run: Path) -> None:
    generator = mergan.load(run)
    with pytest.raises(mergan.ConfigError, match="per_class=0"):
        generator.sample(per_class=0)
    with pytest.raises(mergan.ConfigError, match="seed=-1"):
        generator.sample(seed=-1)
    with pytest.raises(mergan.ConfigError, match="columns=0"):
        generator.grid(columns=0)


def test_a_checkpoint_names_its_own_class_only_where_it_is_trusted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = checkpoint.read(run / "checkpoints" / "last.ckpt")
    content["mergan"]["config"]["strategy"] = {"_target_": "someones_own.Own"}
    torch.save(content, tmp_path / "other.ckpt")
    (tmp_path / "someones_own.py").write_text(
        "from mergan.strategies.finetune import Finetune\nclass Own(Finetune):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(mergan.CheckpointError, match=r"trust=\[someones_own\]"):
        mergan.load(tmp_path / "other.ckpt")
    assert "someones_own" not in sys.modules
    assert mergan.load(tmp_path / "other.ckpt", trust=["someones_own"]).seen
    with pytest.raises(mergan.ConfigError, match="is a list"):
        mergan.load(tmp_path / "other.ckpt", trust="someones_own")


# ---------------------------------------------------------------- read_run


def test_a_run_is_read_as_configuration_figures_and_frames(run: Path) -> None:
    record = mergan.read_run(str(run))
    assert record.finished and record.folder == run
    assert record.config["strategy"]["_target_"] == "mergan.strategies.finetune.Finetune"
    assert record.config["epochs"] == 2 and record.config["learner"]["ema"] == 0.5
    assert 0 <= record.figures["accuracy"] <= 1 and record.figures["evaluation_split"] == "test"
    frame = record.matrices["accuracy"]
    assert isinstance(frame, pd.DataFrame) and frame.index.name == "task" and frame.columns.name == "class"
    assert list(frame.columns) == ["0", "1", "2", "3"] and list(frame.index) == [0, 1]
    assert frame.loc[0, ["2", "3"]].isna().all() and frame.loc[1].notna().all()
    assert frame.loc[1].mean() == pytest.approx(record.figures["accuracy"])
    assert {"recall", "coverage"} <= record.matrices.keys()


def test_an_unfinished_run_has_no_figures_and_what_is_no_run_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    record = mergan.read_run(tmp_path / "run")
    assert not record.finished and record.figures == {} and len(record.matrices["accuracy"]) == 2
    (tmp_path / "run" / "accuracy_matrix.csv").write_text("task,0\n0,high\n")
    with pytest.raises(mergan.ConfigError, match=r"accuracy_matrix\.csv"):
        mergan.read_run(tmp_path / "run")
    for folder in (tmp_path, tmp_path / "nowhere", run / "config.yaml"):
        with pytest.raises(mergan.ConfigError, match="holds no run"):
            mergan.read_run(folder)


# ---------------------------------------------------------------- train


def test_training_gives_what_the_command_gives(run: Path, cache_dir: Path, tmp_path: Path) -> None:
    own = settings(cache_dir, "learner.ema=0.5", "callbacks.samples.columns=3")
    record = mergan.train(own, folder=tmp_path / "run")
    before = mergan.read_run(run)
    assert record.finished and record.folder == tmp_path / "run"
    assert tiny.untimed(record.figures) == tiny.untimed(before.figures)
    new, old = (
        checkpoint.read(folder / "checkpoints" / "last.ckpt")["state_dict"]
        for folder in (tmp_path / "run", run)
    )
    assert tiny.equal(new, old)
    again = mergan.train([*own, "resume=auto"], folder=tmp_path / "run")
    assert again.figures == record.figures  # it was finished already
    with pytest.raises(mergan.ConfigError, match="holds a run already"):
        mergan.train(own, folder=tmp_path / "run")


def test_the_process_is_left_as_it_was(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a program of Hydra's, with its own configuration in work."""
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "own.yaml").write_text("a: 1\n")

    def state() -> list[object]:
        levels = [logging.getLogger(name).level for name in ("mergan", "lightning.pytorch", "matplotlib")]
        handlers = [logging.getLogger("mergan").handlers[:], logging.getLogger().handlers[:]]
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
        return [*levels, *handlers, *signals, threading.excepthook, warnings.filters[:], dict(os.environ)]

    with hydra.initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        own = HydraConfig.instance()
        monkeypatch.setattr(own, "cfg", None)
        own.set_config(hydra.compose("own", return_hydra_config=True))
        before, held = state(), own.cfg
        record = mergan.train(settings(cache_dir, "epochs=1"))
        assert own.cfg is held and hydra.compose("own").a == 1
    after = state()
    after[-1].pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # type: ignore[attr-defined]
    before[-1].pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # type: ignore[attr-defined]
    assert after == before
    assert record.folder.name.endswith("_finetune") and record.folder.is_relative_to(tmp_path / "runs")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epochs=0"], "epochs=0: use"),
        (["batchsize=3"], "unknown key batchsize; did you mean batch_size"),
        (["strategy=nope"], "strategy/nope"),
        (["lr=abc"], "lr=abc: "),
        (["lr=1,2"], "lr=1,2: several values"),
        (["lr=["], "lr=["),
        (["-m"], "-m: flags"),
        (["acgan.ema=0.9"], "acgan.ema=0.9: acgan.* is called learner.* now; write learner.ema=0.9"),
        (["ckpt_path=nowhere.ckpt"], "ckpt_path=nowhere.ckpt: there is no such file"),
        (["hydra.run.dir=elsewhere"], "hydra.run.dir: is given"),
        ("epochs=1", "epochs=1: the settings are a list"),
    ],
)
def test_what_the_command_refuses_is_raised(
    overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(mergan.MerganError) as caught:
        mergan.train(overrides, folder="run")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert isinstance(caught.value, mergan.ConfigError)
    assert not any(tmp_path.iterdir())


def test_a_folder_of_files_of_ones_own_is_searched_too(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    target = "mergan.strategies.finetune.Finetune"
    (tmp_path / "conf" / "strategy" / "mine.yaml").write_text(f"_target_: {target}\n")
    own = settings(cache_dir, "epochs=1", "strategy=mine")
    assert mergan.train(own, tmp_path / "run", config_dir=tmp_path / "conf").finished
    with pytest.raises(mergan.ConfigError, match=r"config_dir=.*no such folder"):
        mergan.train(own, tmp_path / "other", config_dir=tmp_path / "nowhere")


def test_the_module_of_the_door_does_not_hide_the_function() -> None:
    code = (
        "import mergan.train\n"
        "try: mergan.train(['epochs=0'])\n"
        "except mergan.ConfigError as error: print(error)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("epochs=0: use")


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
import mergan

last = Path("run/checkpoints/last.ckpt")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

def ask():
    while not last.exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=ask, daemon=True).start()
try:
    mergan.train(sys.argv[1:], folder="run")
except KeyboardInterrupt:
    print("stopped", mergan.read_run("run").finished)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print("finished", mergan.train([*sys.argv[1:], "resume=auto"], folder="run").finished)
"""


def test_ctrl_c_is_raised_and_the_run_can_be_gone_on_with(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    own = settings(cache_dir, "epochs=15", "steps_per_epoch=1", "learner.log_every_n_steps=50")
    environment = {**os.environ, "PYTHONPATH": str(tiny.ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "script.py", *own]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("task", "going on"))]
    assert [line for line in lines if line in ("stopped False", "True", "finished True")] == [
        "stopped False",
        "True",
        "finished True",
    ]
