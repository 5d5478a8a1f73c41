"""The command line: exit status, one-line errors, sweeps, signals and strategies of one's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import torch
import warm
from PIL import Image

from mergan.checkpoints import file as checkpoint
from mergan.run import experiment

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(cache_dir: Path, *overrides: str) -> list[str]:
    """train.py and its arguments for the tiny configuration; flags go in front of the overrides."""
    flags = [part for part in overrides if part.startswith("-")]
    others = [part for part in overrides if not part.startswith("-")]
    settings = [*tiny.SETTINGS, "strategy=finetune", f"cache_dir={cache_dir}", *others]
    return [str(tiny.ROOT / "train.py"), *flags, *settings]


def train(
    cache_dir: Path, folder: Path, *overrides: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run train.py to its end, in the run folder `folder`/run; relative paths begin in `folder`."""
    return warm.run(command(cache_dir, f"hydra.run.dir={folder / 'run'}", *overrides), folder, environment)


def errors_of(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of a sweep that report failed jobs."""
    assert "Traceback" not in result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def assert_refused(result: subprocess.CompletedProcess[str], folder: Path, *words: str) -> None:
    """Status 2, one line that holds the words, and nothing left behind."""
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert "Traceback" not in result.stdout
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("strategy=finetun", ["strategy/finetun"]),
        ("batchsize=3", ["unknown key batchsize"]),
        ("strategy.wieght=3", ["strategy.wieght"]),
        ("epochs=0", ["epochs=0", "1 or more"]),
        ("epochs=[1,2,3]", ["epochs=[1, 2, 3]", "3 entries for 2 task(s)"]),
        ("batch_size=-1", ["batch_size=-1", "1 or more"]),
        ("lr=abc", ["lr", "abc"]),
        ("lr=nan", ["lr=nan", "above 0"]),
        ("scenario.tasks=[[0,1],[1]]", ["class 1 is in task 0 and again in task 1"]),
        ("ckpt_path=nowhere/last.ckpt", ["ckpt_path=nowhere/last.ckpt", "no such file"]),
        ("evaluation.split=dev", ["split", "dev"]),
        ("trainer.gradient_clip_val=1", ["gradient_clip_val"]),
    ],
)
def test_bad_configurations_are_refused_in_one_line(
    cache_dir: Path, tmp_path: Path, override: str, words: list[str]
) -> None:
    result = train(cache_dir, tmp_path, override)
    assert_refused(result, tmp_path, *words)
    assert result.stdout == ""


@pytest.fixture(scope="module")
def finished(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a run with dcgan networks."""
    folder = tmp_path_factory.mktemp("finished")
    experiment.run(tiny.compose(cache_dir, "strategy=finetune", "epochs=1"), folder)
    return folder / "checkpoints" / "last.ckpt"


def test_empty_checkpoint_is_refused_in_one_line(cache_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.ckpt"
    path.touch()
    assert_refused(train(cache_dir, tmp_path, f"ckpt_path={path}"), tmp_path, str(path), "empty")


def test_every_job_of_a_sweep_reports_its_bad_checkpoint(
    cache_dir: Path, tmp_path: Path, finished: Path
) -> None:
    garbage, foreign, cut = (tmp_path / f"{name}.ckpt" for name in ("garbage", "foreign", "cut"))
    garbage.write_text("this is no checkpoint")
    torch.save({"state_dict": {}}, foreign)
    cut.write_bytes(finished.read_bytes()[:20_000])
    paths = [garbage, foreign, cut, finished]
    sweep = ["-m", f"hydra.sweep.dir={tmp_path / 'sweep'}", "network=upsample", "epochs=1"]
    result = train(cache_dir, tmp_path, *sweep, f"ckpt_path={','.join(str(path) for path in paths)}")
    assert result.returncode == 2
    lines = errors_of(result)
    assert len(lines) == 4, result.stderr
    for line, path in zip(lines, paths, strict=True):
        assert str(path) in line
    for line, words in zip(
        lines, ["not a readable", "not a checkpoint", "not a readable", "network."], strict=True
    ):
        assert words in line
    assert result.stdout.count("failed") == 4
    left = sorted(path.name for path in (tmp_path / "sweep").iterdir())
    assert left == ["jobs", "multirun.yaml", "summary.csv", "sweep.csv"]  # and no run folder


def test_missing_and_broken_images_are_refused_by_name(cache_dir: Path, tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    for label in "abcd":
        (broken / label).mkdir(parents=True)
        for index in range(5):
            Image.new("L", (16, 16), 40 * index).save(broken / label / f"{index}.png")
    (broken / "c" / "2.png").write_bytes(b"no picture")
    sweep = [f"hydra.sweep.dir={tmp_path / 'sweep'}", "data=image_folder", "data.channels=1"]
    sweep.append(f"cache_dir={tmp_path / 'cache'}")
    settings = [part for part in tiny.SETTINGS if not part.startswith("data.source.")]
    roots = f"data.root={empty},{broken},{tmp_path / 'nowhere'}"
    result = warm.run([str(tiny.ROOT / "train.py"), "-m", *settings, *sweep, roots], tmp_path)
    assert result.returncode == 2
    lines = errors_of(result)
    assert len(lines) == 3, result.stderr
    assert str(empty) in lines[0]
    assert str(broken / "c" / "2.png") in lines[1]
    assert str(tmp_path / "nowhere") in lines[2]


def test_sweep_trains_strategies_and_survives_failing_jobs(cache_dir: Path, tmp_path: Path) -> None:
    strategies = ["agem", "finetune", "joint_retrain"]
    overrides = ["-m", f"hydra.sweep.dir={tmp_path}", f"strategy={','.join(strategies)}", "debug=smoke"]
    result = train(cache_dir, tmp_path, *overrides, "objective.scale_g=-1,1")
    assert result.returncode == 2  # half of the jobs were refused
    lines = errors_of(result)
    assert len(lines) == len(strategies)
    assert all("objective.scale_g=-1" in line for line in lines)
    for index, strategy in enumerate(strategies):
        refused, done = tmp_path / f"{2 * index}_{strategy}", tmp_path / f"{2 * index + 1}_{strategy}"
        assert not refused.exists()
        for name in ("config.yaml", "metrics.json", "accuracy_matrix.csv", "metrics.csv"):
            assert (done / name).is_file(), f"{done / name}"
        for name in (
            "samples/task_00.png",
            "checkpoints/last.ckpt",
            "checkpoints/task_00.ckpt",
            "tensorboard",
        ):
            assert (done / name).exists(), f"{done / name}"
    said = result.stdout.splitlines()
    assert sum(line.startswith("device ") for line in said) == 1  # what is the same for all jobs
    place = said.index(f"job 1 (2 of {2 * len(strategies)}): strategy=agem objective.scale_g=1")
    assert said[place + 1].startswith("agem; generated images in place of synthetic, ")
    assert said[place + 1].endswith("; 2 tasks of 2 classes; 1_agem")
    assert said.count("debug=smoke: the figures mean nothing") == 2  # at the first job and after the table
    table = result.stdout[result.stdout.rindex("\nstrategy ") :].splitlines()[1:]
    assert "accuracy" in table[0]
    assert {row.split()[0] for row in table[1 : 1 + len(strategies)]} == set(strategies)
    assert [row.startswith("failed: job") for row in table].count(True) == len(strategies)
    assert lines == result.stderr.splitlines()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR2, 143)]
)
def test_signals_leave_a_checkpoint_and_say_how_to_go_on(
    cache_dir: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    run = tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    overrides = [f"hydra.run.dir={run}", "epochs=20", "steps_per_epoch=1", "learner.log_every_n_steps=50"]
    process = subprocess.Popen(
        [sys.executable, *command(cache_dir, *overrides)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 90
        while not last.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, errors
    (line,) = errors.splitlines()
    assert line.endswith(f"go on with python {tiny.ROOT / 'train.py'} ckpt_path={last}")
    content = checkpoint.read(last)
    assert 1 <= content["global_step"] < 40
    assert not (run / "metrics.json").exists()
    if number == signal.SIGTERM:
        # all that is needed stands in the checkpoint
        result = subprocess.run(
            [sys.executable, str(tiny.ROOT / "train.py"), f"ckpt_path={last}"],
            cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert (run / "metrics.json").is_file()
        assert checkpoint.read(last)["global_step"] == 40
        assert str(run) in result.stdout
        assert not any(path.is_file() for path in (tmp_path / "runs").rglob("*"))


PLUGIN = '''
from mergan.strategies import Strategy


class Louder(Strategy):
    """Scales the weight of every real image."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def training_batch(self, images, labels, context):
        batch = super().training_batch(images, labels, context)
        batch.weights = batch.weights * self.factor
        return batch
'''


def test_strategy_of_another_package_trains(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "elsewhere.py").write_text(PLUGIN)
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "louder.yaml").write_text("_target_: elsewhere.Louder\nfactor: 1.0\n")
    overrides = [f"--config-dir={tmp_path / 'conf'}", "strategy=louder", "strategy.factor=2.0", "epochs=1"]
    result = train(cache_dir, tmp_path, *overrides, PYTHONPATH=str(tmp_path / "code"))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    own = checkpoint.read(tmp_path / "run" / "checkpoints" / "last.ckpt")["mergan"]
    assert own["config"]["strategy"] == {"_target_": "elsewhere.Louder", "factor": 2.0}


def test_the_same_command_goes_on_after_a_crash_and_then_says_that_it_is_finished(
    cache_dir: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def again(*more: str) -> subprocess.CompletedProcess[str]:
        return train(cache_dir, tmp_path, "resume=auto", "epochs=2", "steps_per_epoch=1", *more)

    run.mkdir()
    (run / "config.yaml").write_text("epochs: 2\n")  # killed before its first checkpoint
    first = again()
    assert first.returncode == 0, first.stderr
    figures, last = (run / "metrics.json").read_text(), run / "checkpoints" / "last.ckpt"
    written = last.stat().st_mtime_ns
    finished = again()
    assert finished.returncode == 0, finished.stderr
    assert f"{run}: finished already" in finished.stdout
    assert (run / "metrics.json").read_text() == figures and last.stat().st_mtime_ns == written
    # as killed in the second task
    (run / "metrics.json").unlink()
    last.write_bytes((run / "checkpoints" / "task_00.ckpt").read_bytes())
    rest = again()
    assert rest.returncode == 0, rest.stderr
    assert "task 2/2" in rest.stdout and "task 1/2" not in rest.stdout
    measured = json.loads((run / "metrics.json").read_text())
    assert tiny.untimed(measured) == tiny.untimed(json.loads(figures))
    changed = again("lr=0.01", "batch_size=4")
    assert changed.returncode == 2
    (line,) = changed.stderr.splitlines()
    assert "lr" in line and "batch_size" in line and "allow_changes=true" in line
