"""Sweeps: records, tables, jobs side by side, and what the same command does again after an interruption."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import warm
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from mergan import config, read_run
from mergan.cli import sweeps
from mergan.cli.grid import representative
from mergan.cli.watching import status_line
from mergan.config import trainer_arguments
from mergan.output.sweep import SweepFolder
from mergan.output.sweep_jobs import Job, Status, read_job
from mergan.system.errors import ConfigError
from mergan.system.progress import Progress, tell, written_to

TRAIN = str(tiny.ROOT / "train.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def finished(number: int, *overrides: str, **figures: Any) -> Job:
    return Job(number, overrides, Status.finished, f"{number}_run", figures=figures)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


JOBS = [
    finished(0, "debug=smoke", "lr=1e-3", "seed=0", accuracy=0.5, recall=0.25),
    finished(1, "debug=smoke", "lr=1e-3", "seed=1", accuracy=0.7, recall=0.5),
    finished(2, "debug=smoke", "lr=1e-4", "seed=0", accuracy=0.9, recall=0.125),
    Job(3, ("debug=smoke", "lr=1e-4", "seed=1"), Status.failed, reason="lr=1e-4: is bad", exit_status=3),
]


def sweep_of(folder: Path, jobs: list[Job]) -> SweepFolder:
    sweep = SweepFolder(folder)
    for job in jobs:
        sweep.write(job)
    sweep.write_tables()
    return sweep


def test_the_tables_hold_what_varied_and_the_moments_over_the_seeds(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, JOBS)
    table = rows(sweep.table)
    assert list(table[0]) == ["job", "lr", "seed", "status", "accuracy", "recall", "reason", "folder"]
    assert [row["status"] for row in table] == ["finished"] * 3 + ["failed"]
    assert table[1] == {"job": "1", "lr": "1e-3", "seed": "1", "status": "finished", "accuracy": "0.7",
                        "recall": "0.5", "reason": "", "folder": "1_run"}  # fmt: skip
    assert table[3]["reason"] == "lr=1e-4: is bad"
    first, second = rows(sweep.summary)
    assert first["lr"] == "1e-3" and first["seeds"] == first["jobs"] == "2"
    assert float(first["accuracy_mean"]) == pytest.approx(0.6)
    assert float(first["accuracy_std"]) == pytest.approx(0.02**0.5)  # with n - 1
    assert (second["seeds"], second["jobs"]) == ("1", "2")
    assert float(second["accuracy_mean"]) == 0.9 and second["accuracy_std"] == ""


def test_a_record_comes_back_as_it_was_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, JOBS)
    assert sweep.jobs() == JOBS
    for text in ("", "[]", '{"overrides": 3}', '{"figures": {"a": []}}', "\x00", "[" * 100_000):
        sweep.record(0).write_text(text)
        with pytest.raises(ConfigError, match=r"0\.json"):
            read_job(sweep.record(0))


def test_the_closing_table_is_best_first_and_names_failures_and_commands(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, JOBS)
    lines = sweeps.closing(sweep, "python train.py").splitlines()
    assert lines[0].split()[:3] == ["lr", "seeds", "accuracy"]
    assert [line.split()[:3] for line in lines[1:3]] == [["1e-4", "1/2", "0.900"], ["1e-3", "2/2", "0.600"]]
    assert "0.600 ± 0.141" in lines[2] and "0.900 ±" not in lines[1]
    assert lines[3].startswith("the best accuracy first")
    assert lines[4] == "the best again: python train.py debug=smoke lr=1e-4 seed=0"
    assert lines[5:] == [
        "debug=smoke: the figures mean nothing",
        "failed: job 3: lr=1e-4: is bad (lr=1e-4 seed=1)",
    ]
    assert sweeps.status(sweep.jobs()) == 3


def test_the_best_job_of_a_preset_runs_alone(cache_dir: Path, tmp_path: Path) -> None:
    job = finished(0, "debug=smoke", f"cache_dir={cache_dir}", "sweep=seeds", "seed=1", "strategy=joint")
    words = shlex.split(sweeps.best_command(job, f"python {TRAIN}"))[1:]
    result = warm.run([*words, f"hydra.run.dir={tmp_path / 'run'}"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert read_run(tmp_path / "run").config["seed"] == 1


def test_reverse_accuracy_decides_where_every_job_has_it(tmp_path: Path) -> None:
    jobs = [
        finished(0, "lr=1", accuracy=0.9, reverse_accuracy=0.1),
        finished(1, "lr=2", accuracy=0.1, reverse_accuracy=0.9),
    ]
    assert "train lr=2" in sweeps.closing(sweep_of(tmp_path, jobs), "mergan train")


def test_no_line_of_the_closing_table_is_longer_than_100_characters(tmp_path: Path) -> None:
    figures = dict.fromkeys(
        ("accuracy", "judge_accuracy", "reverse_accuracy", "recall", "coverage", "fid", "forgetting"), 0.123
    )
    jobs = [
        finished(number, f"data.root={'a' * 300}{number % 2}", f"seed={number}", f"b{'c' * 40}={number % 2}",
                 **figures)
        for number in range(4)
    ]  # fmt: skip
    jobs.append(Job(4, ("seed=4",), Status.failed, reason="x" * 400))
    lines = sweeps.closing(sweep_of(tmp_path, jobs), "python train.py").splitlines()
    whole = [line for line in lines if line.startswith("the best ")]  # commands and paths, to be copied
    assert len(whole) == 2
    assert max(len(line) for line in lines if line not in whole) <= 100
    assert "x" * 400 in (tmp_path / "sweep.csv").read_text()


def test_the_same_words_go_on_with_a_sweep_whatever_they_hold(tmp_path: Path) -> None:
    typed = ["-m", "data.root='my $pictures'", "seed=0,1", "resume=never", "hydra.sweep.dir=elsewhere"]
    line = sweeps.go_on(typed, SweepFolder(tmp_path / "a b"), "python train.py")
    assert shlex.split(line) == ["python", "train.py", "-m", "data.root='my $pictures'", "seed=0,1",
                                 f"hydra.sweep.dir='{tmp_path / 'a b'}'", "resume=auto"]  # fmt: skip


def test_a_plan_keeps_finished_jobs_of_the_same_settings_and_refuses_to_start_over_them(
    tmp_path: Path,
) -> None:
    sweep = sweep_of(tmp_path, JOBS)
    wanted = [["debug=smoke", "lr=1e-3", "seed=1", "resume=auto"], ["debug=smoke", "lr=5", "seed=1"]]
    sweep.plan(wanted, going_on=False)  # no run has left anything
    sweep_of(tmp_path, JOBS)
    (tmp_path / "1_run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "1_run" / "config.yaml").touch()
    with pytest.raises(ConfigError, match=r"holds a sweep already; go on with resume=auto"):
        sweep.plan(wanted, going_on=False)
    sweep.plan(wanted, going_on=True)
    kept, new = sweep.jobs()
    assert (kept.number, kept.figures, kept.folder) == (0, JOBS[1].figures, "1_run")
    assert new == Job(1, ("debug=smoke", "lr=5", "seed=1"))


def test_a_grid_is_checked_by_jobs_in_which_every_value_meets_every_choice_of_files() -> None:
    product = [
        [f"strategy={name}", f"lr={lr}", f"seed={seed}"]
        for name in "ab"
        for lr in (1, 2)
        for seed in range(5)
    ]
    chosen = representative(product, {"strategy"})
    pairs = {(job[0], word) for job in chosen for word in job}
    assert pairs == {(job[0], word) for job in product for word in job}
    assert len(chosen) == 2 * (1 + 1 + 4) and all(job in product for job in chosen)


def test_a_key_that_one_choice_lacks_is_refused_before_anything(cache_dir: Path, tmp_path: Path) -> None:
    words = ["strategy=joint_retrain,finetune", "seed=0,1", "strategy.mode=live"]
    result = warm.run([*sweep(cache_dir, tmp_path / "sweep")[:-1], *words], tmp_path)
    assert result.returncode == 2 and "strategy.mode" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "sweep").exists()


def test_the_status_line_says_who_is_where(tmp_path: Path) -> None:
    running = [Job(number, (f"seed={number}",), Status.running) for number in (4, 5)]
    sweep = sweep_of(tmp_path, [*JOBS, *running, Job(6, ("seed=6",))])
    with written_to(sweep.progress(4)):
        tell(Progress(2, 10, 119.0))
        said = status_line(sweep)
    assert said == "3 of 7 jobs done, 1 failed; running: 4 (task 2/10, 2 min left), 5 (starting)"


@pytest.mark.parametrize(
    ("words", "number"),
    [(["sweep=v2_grid"], 54), (["sweep=[seeds,strategies]"], 3 * len(tiny.STRATEGIES)), (["sweep=seeds"], 3),
     (["sweep=v2_grid", "epochs=3,5"], 36)],
)  # fmt: skip
def test_presets_are_sweeps(words: list[str], number: int) -> None:
    cfg = config.load_configuration("train", words[:1], hydra=True)
    assert cfg.hydra.mode.name == "MULTIRUN"
    params = [f"{key}={value}" for key, value in cfg.hydra.sweeper.params.items()]
    loader = config.loader()
    overrides = OverridesParser.create(config_loader=loader).parse_overrides([*params, *words])
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    assert len(jobs) == number
    assert cfg.hydra.sweeper._target_ == "hydra_plugins.mergan_plugins.GridSweeper"


def sweep(cache_dir: Path, folder: Path, *words: str) -> list[str]:
    """The command line of a sweep of tiny runs, without "python"."""
    settings = [*tiny.SETTINGS, f"cache_dir={cache_dir}", f"hydra.sweep.dir={folder}"]
    return [TRAIN, "-m", *settings, "strategy=finetune,joint_retrain", *words]


@pytest.fixture(scope="module")
def serial(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two jobs, one after the other, that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("serial") / "sweep"
    result = warm.run(sweep(cache_dir, folder, "epochs=6"), folder.parent)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder


def test_jobs_side_by_side_end_as_one_after_another(cache_dir: Path, tmp_path: Path, serial: Path) -> None:
    words = ["epochs=6", "hydra/launcher=parallel", "hydra.launcher.gpus=[]", "batch_size=8,-1"]
    folder = tmp_path / "sweep"
    result = warm.run(sweep(cache_dir, folder, *words), tmp_path)
    assert result.returncode == 2  # of the jobs that are refused
    refused = sorted(result.stderr.splitlines())
    assert len(refused) == 2 and all("batch_size=-1" in line for line in refused)
    jobs = rows(folder / "sweep.csv")
    assert [job["status"] for job in jobs] == ["finished"] * 2 + ["failed"] * 2
    assert [job["batch_size"] for job in jobs] == ["8"] * 2 + ["-1"] * 2
    assert all("batch_size=-1" in job["reason"] and job["folder"] == "" for job in jobs[2:])
    for ours, theirs in zip(jobs[:2], rows(serial / "sweep.csv"), strict=True):
        paths = (folder / ours["folder"], serial / theirs["folder"])
        found, expected = (json.loads((path / "metrics.json").read_text()) for path in paths)
        assert tiny.untimed(found) == tiny.untimed(expected)
        assert "task 2/2" in (folder / "jobs" / f"{ours['job']}.log").read_text()
    assert "task 2/2" not in result.stdout  # the jobs' own news are in their logs
    assert "the best again: python" in result.stdout
    # the same command again: all that is done is taken as it is
    (again,) = (line for line in result.stdout.splitlines() if line.startswith("the same sweep again"))
    words = shlex.split(again[again.index("python ") :])[1:]
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/*")}
    assert len(before) == 6
    second = warm.run([word for word in words if "launcher" not in word], tmp_path)
    assert second.returncode == 2
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/*")} == before
    assert second.stdout.count("finished already") == 2


def test_an_interrupted_and_a_killed_sweep_go_on_with_the_command_that_they_print(
    cache_dir: Path, tmp_path: Path, serial: Path
) -> None:
    folder = tmp_path / "sweep"
    command = [sys.executable, *sweep(cache_dir, folder, "epochs=6", "hydra/launcher=parallel")]
    stopped = strike(command, folder, signal.SIGTERM)
    assert stopped.returncode == 143
    (line,) = stopped.stderr.splitlines()
    assert line.startswith("stopped; go on with python ")
    states = {row["status"] for row in rows(folder / "sweep.csv")}
    assert "stopped" in states and not states & {"running", "failed"}
    again = [sys.executable, *shlex.split(line.split(" go on with ")[1])[1:]]
    assert again[-1] == "resume=auto"
    assert strike(again, folder, signal.SIGKILL).returncode == -signal.SIGKILL
    ended = subprocess.run(again, capture_output=True, text=True, env=ENVIRONMENT, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert tiny.sweep_table(folder / "summary.csv") == tiny.sweep_table(serial / "summary.csv")


def strike(command: list[str], folder: Path, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Run a sweep, and send it a signal once a job has written a further checkpoint."""
    before = checkpoints(folder)
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while checkpoints(folder) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def checkpoints(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/last.ckpt")}


@pytest.mark.parametrize(("said", "found"), [("", None), ("3", 3), ("2,1", 2)])
def test_threads_of_the_environment(monkeypatch: pytest.MonkeyPatch, said: str, found: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert trainer_arguments.threads_asked() == found


@pytest.mark.parametrize("said", ["many", "0", "-1"])
def test_threads_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    with pytest.raises(ConfigError, match=f"OMP_NUM_THREADS={said}"):
        trainer_arguments.threads_asked()


def test_two_sweeps_do_not_share_a_folder(cache_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    with SweepFolder(folder).locked():
        result = warm.run(sweep(cache_dir, folder), tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: hydra.sweep.dir={folder}: another process is running a sweep there")


@pytest.mark.parametrize(
    "word",
    ["hydra.launcher.n_jobs=0", "hydra.launcher.threads=-2", "hydra.launcher.gpus=[a]", "sweep=v2",
     "hydra.launcher.n_jobs=many"],
)  # fmt: skip
def test_a_bad_setting_of_the_launcher_is_refused_in_one_line_before_anything(
    cache_dir: Path, tmp_path: Path, word: str
) -> None:
    folder = tmp_path / "sweep"
    result = warm.run(sweep(cache_dir, folder, "hydra/launcher=parallel", word), tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and word.split("=")[0] in line
    assert not folder.exists()
