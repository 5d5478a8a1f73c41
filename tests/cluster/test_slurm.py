"""Sweeps on a real Slurm of one node, which `make test-cluster` sets up (slurm.sh beside this file).

Jobs wait for cores, are preempted and run out of time; all of that takes some minutes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import tiny
import torch

from mergan.output.folder import RunFolder
from mergan.output.reading import read_figures

SCRIPT = Path(__file__).with_name("slurm.sh")
LAUNCHER = ["hydra/launcher=slurm", "hydra.launcher.mem_gb=0.4"]
LONG = ["epochs=120", "steps_per_epoch=80"]  # a minute and a half
REST = 10  # seconds that a job waits before it is started again
# Slurm announces the end of two minutes 45 to 105 s before it, thus 15 to 75 s after the start.
LIMIT = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=45"]


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm of its own. Requeued jobs, which Slurm lets rest for two minutes, rest for ten seconds."""
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run(["bash", SCRIPT, "start", folder], check=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    ended = threading.Event()
    hurry = threading.Thread(target=_hurry, args=[ended])
    hurry.start()
    yield
    ended.set()
    hurry.join()
    subprocess.run(["bash", SCRIPT, "stop", folder], check=True)
    del os.environ["SLURM_CONF"]


def _hurry(ended: threading.Event) -> None:
    """Let jobs rest as long as the end of their first start may be on its way to Slurm, which would end the
    second start with it.
    """
    since: dict[str, float] = {}
    while not ended.wait(1):
        for line in slurm("squeue", "--noheader", "--array", "--format=%i %r").splitlines():
            job, reason = line.split(maxsplit=1)
            if reason == "BeginTime" and time.monotonic() > since.setdefault(job, time.monotonic()) + REST:
                del since[job]
                slurm("scontrol", "update", f"JobId={job}", "StartTime=now")


def slurm(*words: str) -> str:
    return subprocess.run(words, check=False, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.Popen[str]]:
    """Start a sweep of tiny runs in the background."""
    cache = tmp_path_factory.mktemp("cache")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tiny.ROOT)}

    def started(folder: Path, *words: str) -> subprocess.Popen[str]:
        settings = [*tiny.SETTINGS, f"cache_dir={cache}", f"hydra.sweep.dir={folder}"]
        return subprocess.Popen(
            [sys.executable, tiny.ROOT / "train.py", "-m", *settings, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def ended(process: subprocess.Popen[str], status: int = 0) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == status, out + err
    return out + err


def wait_for(happened: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.2)


def same(one: Path, other: Path, jobs: Sequence[str]) -> None:
    """The figures and the weights of both sweeps are equal to the bit."""
    for job in jobs:
        left, right = RunFolder(one / job), RunFolder(other / job)
        assert tiny.untimed(read_figures(left.figures)) == tiny.untimed(read_figures(right.figures))
        states = [torch.load(run.last, weights_only=True)["state_dict"] for run in (left, right)]
        assert tiny.equal(*states)


@pytest.fixture(scope="module")
def alone(sweep: Callable[..., subprocess.Popen[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    ended(sweep(folder, *LONG))
    return folder


def test_four_jobs_equal_those_that_ran_one_after_another(sweep: Callable, tmp_path: Path) -> None:
    words = ["strategy=finetune,joint_retrain", "seed=0,1"]
    ended(sweep(tmp_path / "serial", *words))
    said = ended(sweep(tmp_path / "slurm", *words, *LAUNCHER, "hydra.launcher.array_size=3"))
    assert all(f"job {number}: finished" in said for number in range(4))
    assert "the best again: python" in said
    tables = [tiny.sweep_table(tmp_path / folder / "summary.csv") for folder in ("serial", "slurm")]
    assert tables[0] == tables[1] and [row["seeds"] for row in tables[0]] == ["2", "2"]
    same(
        tmp_path / "serial",
        tmp_path / "slurm",
        ["0_finetune", "1_finetune", "2_joint_retrain", "3_joint_retrain"],
    )


def test_a_preempted_job_goes_on_to_the_bit(sweep: Callable, alone: Path, tmp_path: Path) -> None:
    process = sweep(tmp_path, *LONG, *LAUNCHER)
    run = RunFolder(tmp_path / "0_joint_retrain")
    wait_for(run.last.exists)
    slurm("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    wait_for(lambda: "slurmstepd" in logs(tmp_path))
    assert not run.finished
    ended(process)
    assert "PREEMPTION" in logs(tmp_path)
    same(alone, tmp_path, ["0_joint_retrain"])


def test_a_job_that_reaches_its_time_limit_goes_on_to_the_bit(
    sweep: Callable, alone: Path, tmp_path: Path
) -> None:
    ended(sweep(tmp_path, *LONG, *LAUNCHER, *LIMIT))
    assert "Requeued job" in logs(tmp_path)
    same(alone, tmp_path, ["0_joint_retrain"])


def test_a_job_that_would_never_get_on_is_not_started_again(sweep: Callable, tmp_path: Path) -> None:
    process = sweep(tmp_path, "steps_per_epoch=1000000", *LAUNCHER, *LIMIT)
    assert "hydra.launcher.timeout_min=2: is too short: no epoch ended in that time" in ended(process, 2)
    wait_for(lambda: not slurm("squeue", "--noheader"))
    assert "Requeued" not in logs(tmp_path)


def test_a_cancelled_job_does_not_hide_the_others(sweep: Callable, tmp_path: Path) -> None:
    process = sweep(tmp_path, "seed=0,1", "epochs=30", "steps_per_epoch=80", *LAUNCHER)
    wait_for(RunFolder(tmp_path / "0_joint_retrain").last.exists)
    number = slurm("squeue", "--noheader", "--array", "--format=%i").split()[0].partition("_")[0]
    slurm("scancel", f"{number}_0")
    said = ended(process, 3)
    assert "job 0: failed: job" in said and "CANCELLED" in said and "job 1: finished" in said
    assert RunFolder(tmp_path / "1_joint_retrain").finished


def test_ctrl_c_ends_the_waiting_only(sweep: Callable, tmp_path: Path) -> None:
    process = sweep(tmp_path, *LAUNCHER)
    assert process.stdout is not None
    wait_for(lambda: "in the queue" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    said = ended(process, 130).splitlines()[-1]
    assert said.startswith("stopped waiting; the jobs go on: squeue --jobs=") and "scancel" in said
    wait_for(RunFolder(tmp_path / "0_joint_retrain").figures.exists)


def logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.glob(".submitit/*/*log.*"))
