"""Sweeps as jobs of a cluster, without one: submitit's own processes, and what is refused before it is asked.

tests/cluster/ is the same on a real Slurm.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import warm
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus
from omegaconf import DictConfig
from submitit.core.utils import DelayedSubmission, JobPaths
from submitit.slurm.slurm import SlurmJob, SlurmJobEnvironment

from mergan.callbacks.interruption import StopBetweenSteps
from mergan.cli import slurm_job, slurm_queue
from mergan.output.reading import read_figures
from mergan.run import launch
from mergan.system import interrupts
from mergan.system.errors import ConfigError, TrainingError

TRAIN = str(tiny.ROOT / "train.py")


def test_submitit_processes_equal_jobs_one_after_another(cache_dir: Path, tmp_path: Path) -> None:
    words = [TRAIN, "-m", *tiny.SETTINGS, f"cache_dir={cache_dir}", "seed=0,1"]
    where = {"PYTHONPATH": str(tiny.ROOT)}
    for folder, launcher in (("serial", []), ("submitit", ["hydra/launcher=submitit_local"])):
        done = warm.run([*words, f"hydra.sweep.dir={tmp_path / folder}", *launcher], tmp_path, where)
        assert done.returncode == 0, done.stderr
    for job in ("0_joint_retrain", "1_joint_retrain"):
        figures = [
            read_figures(tmp_path / folder / job / "metrics.json") for folder in ("serial", "submitit")
        ]
        assert tiny.untimed(figures[0]) == tiny.untimed(figures[1])


@pytest.fixture
def sbatch(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """An environment whose Slurm consists of an sbatch that does what the given line of shell says."""

    def with_line(line: str) -> dict[str, str]:
        for name in ("sbatch", "srun", "scancel"):
            (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / name).chmod(0o755)
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    return with_line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.launcher.timeout_min=0"], "hydra.launcher.timeout_min=0: use a whole number of 1 or more"),
        (
            ["hydra.launcher.timeout_min=3"],
            "hydra.launcher.timeout_min=3: Slurm announces the end up to 180 s before it "
            "(signal_delay_s=120, and a minute too early); use 4 or more",
        ),
        (["hydra.launcher.setup=module"], "hydra.launcher.setup=module: use a list of words"),
        (["hydra.launcher.time=3"], "unknown key hydra.launcher.time; --cfg job shows all keys"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(
    words: list[str], said: str, sbatch: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    command = [TRAIN, "-m", "hydra/launcher=slurm", f"hydra.sweep.dir={folder}", *words]
    done = warm.run(command, tmp_path, sbatch("exit 1"))
    assert done.returncode == 2 and done.stderr.strip() == f"error: {said}"
    assert not folder.exists()


def test_what_sbatch_refuses_leaves_no_job_behind(
    sbatch: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    command = [TRAIN, "-m", "hydra/launcher=slurm", "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    done = warm.run(command, tmp_path, sbatch("echo sbatch: error: Invalid partition >&2; exit 1"))
    assert done.returncode == 2
    assert done.stderr.strip() == "error: hydra/launcher=slurm: sbatch refuses the jobs (Invalid partition)"
    assert {row["status"] for row in tiny.sweep_table(tmp_path / "sweep" / "sweep.csv")} == {"waiting"}


def test_without_slurm_or_submitit_one_line_says_what_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as util\n"
        "from mergan.train import main\n"
        "from mergan.cli import slurm\n"
        "if sys.argv.pop(1) == 'bare': slurm.find_spec = lambda name: None\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    for extra, said in (("bare", "pip install 'mergan[slurm]'"), ("full", "this machine has no sbatch")):
        done = subprocess.run(
            [sys.executable, "-c", code, extra, "-m", "hydra/launcher=slurm", "hydra.sweep.dir=sweep"],
            env={**os.environ, "PYTHONPATH": str(tiny.ROOT), "PATH": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and said in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_launcher_without_a_sweep_is_refused(tmp_path: Path) -> None:
    done = warm.run([TRAIN, "hydra/launcher=slurm"], tmp_path)
    assert done.returncode == 2 and "for which the command has -m" in done.stderr


@pytest.fixture
def in_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """This process as submitit leaves it to a job of Slurm; asks=[...] notes how often it was put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT)}
    monkeypatch.setattr(interrupts, "_received", None)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)

    def prepared(cfg: DictConfig, timeouts: int, minutes: int) -> None:
        for name, value in {"JOB_ID": "7", "PROCID": "0"}.items():
            monkeypatch.setenv(f"SLURM_{name}", value)
        hydra = {"runtime": {"output_dir": str(tmp_path / "run")}}
        launcher = {"timeout_min": minutes, "max_num_timeout": timeouts}
        HydraConfig.instance().cfg = DictConfig({"hydra": {**hydra, "launcher": launcher}})
        delayed = DelayedSubmission(print)
        delayed.set_timeout(minutes, timeouts)
        environment = SlurmJobEnvironment()
        environment._handle_signals(JobPaths(tmp_path, "7"), delayed)

    yield prepared
    for number, handler in before.items():
        signal.signal(number, handler)


def ends_its_time(cfg: DictConfig) -> None:
    os.kill(os.getpid(), signal.SIGUSR2)


def test_a_job_that_got_nowhere_in_its_time_is_not_put_back(
    in_a_job: Callable[..., None], compose: Callable[..., DictConfig]
) -> None:
    cfg = compose()
    in_a_job(cfg, timeouts=3, minutes=1)
    with pytest.raises(ConfigError, match=r"hydra.launcher.timeout_min=1: is too short: no epoch ended"):
        slurm_job.run(ends_its_time, cfg)


def test_a_job_is_put_back_no_more_often_than_the_command_says(
    in_a_job: Callable[..., None], compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    def finishes_an_epoch(cfg: DictConfig) -> None:
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"
        last.parent.mkdir(parents=True)
        last.touch()
        ends_its_time(cfg)

    cfg = compose()
    in_a_job(cfg, timeouts=0, minutes=1)
    with pytest.raises(ConfigError, match="max_num_timeout=0: the job reached its time limit more often"):
        slurm_job.run(finishes_an_epoch, cfg)


def test_a_job_that_is_started_again_goes_on(
    in_a_job: Callable[..., None], compose: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = compose()
    in_a_job(cfg, timeouts=0, minutes=1)
    assert slurm_job.run(lambda cfg: cfg.resume.name, cfg) == "never"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    in_a_job(cfg, timeouts=0, minutes=1)
    assert slurm_job.run(lambda cfg: cfg.resume.name, cfg) == "auto"


def test_an_error_that_cannot_be_carried_home_is_told_in_its_words(
    in_a_job: Callable[..., None], compose: Callable[..., DictConfig]
) -> None:
    class Odd(Exception):
        def __reduce__(self) -> Any:
            raise TypeError

    def fails(cfg: DictConfig) -> None:
        raise Odd("a strange thing")

    cfg = compose()
    in_a_job(cfg, timeouts=0, minutes=1)
    with pytest.raises(RuntimeError, match="Odd: a strange thing"):
        slurm_job.run(fails, cfg)


def test_sigterm_leaves_a_job_to_who_handles_it(
    build: Callable[..., tiny.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Preempted(pl.Callback):
        def on_train_batch_end(self, *arguments: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))  # as submitit does
    try:
        run = build("strategy=finetune").fit(Preempted())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert any(isinstance(callback, StopBetweenSteps) for callback in run.trainer.callbacks)  # type: ignore[attr-defined]
    assert len(told) == run.trainer.global_step == 8


def test_a_job_without_a_result_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\n")  # an empty queue
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_queue, "ASK", 0.0)
    monkeypatch.setattr(slurm_queue, "LATE", 0.0)
    job: SlurmJob[Any] = SlurmJob(tmp_path, "7_0")
    job.paths.stderr.write_text("slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 12:00 ***\n")
    (returned,) = slurm_queue.wait([job], first=4)
    assert returned.status == JobStatus.FAILED
    with pytest.raises(TrainingError, match=r"JOB 7 ON n1 CANCELLED AT 12:00\); see "):
        _ = returned.return_value
    assert "job 4: failed: job 7_0 of Slurm failed, it left no result" in capsys.readouterr().out


def test_a_repeated_command_that_branches_off_goes_on_in_its_own_folder(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    other, own = tmp_path / "other" / "checkpoints" / "task_00.ckpt", launch.RunFolder(tmp_path / "own")
    other.parent.mkdir(parents=True)
    other.touch()
    cfg = compose(f"ckpt_path={other}", "resume=auto")
    assert launch.choose_place(cfg, own.path).checkpoint == other
    own.config.parent.mkdir()
    own.config.touch()
    assert launch.choose_place(cfg, own.path).checkpoint == other
    own.last.parent.mkdir()
    own.last.touch()
    assert launch.choose_place(cfg, own.path).checkpoint == own.last
