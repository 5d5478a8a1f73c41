"""Several processes for one run: they follow one process with the whole batch, and end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import one_of_two
import pytest
import tiny
import torch
import warm
from omegaconf import DictConfig, OmegaConf

from mergan.config import trainer_arguments
from mergan.run import same_batch
from mergan.run.resources import processes_here
from mergan.system.errors import ConfigError
from mergan.system.launched import Member, member

LOGGED = ("g/", "d/", "class_accuracy/")
DDP = ["trainer=ddp", "trainer.devices=2"]


def ranks() -> list[dict[str, str]]:
    """The environment of two processes, as torchrun sets it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return [
        {
            **{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(tiny.ROOT / "tests")},
        }
        for rank in "01"
    ]


def both(words: list[str], cwd: Path) -> list[subprocess.CompletedProcess[str]]:
    """The same command in two processes that know of each other."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda environment: warm.run(words, cwd, environment), ranks()))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """The folder of one_of_two.py, after both processes have trained all its runs."""
    folder = tmp_path_factory.mktemp("pair")
    ended = both([str(tiny.ROOT / "tests" / "one_of_two.py"), str(folder), str(cache_dir)], folder)
    for process in ended:
        assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.parametrize("name", one_of_two.RUNS)
def test_two_processes_follow_one_with_the_whole_batch(
    name: str, pair: Path, cache_dir: Path, tmp_path: Path
) -> None:
    words = [*one_of_two.SHORT, *one_of_two.RUNS[name]]
    one_of_two.train(tmp_path / name, cache_dir, "batch_size=8", *words)
    alone, together = (tiny.csv_rows(folder / name) for folder in (tmp_path, pair))
    assert len(alone) == len(together) >= 6
    for row, other in zip(alone, together, strict=True):
        logged = {key: float(cell) for key, cell in row.items() if key.startswith(LOGGED)}
        assert {key: float(other[key]) for key in logged} == pytest.approx(logged, rel=1e-2, abs=1e-4)
        assert row.get("lr/g") == other.get("lr/g")


def test_all_processes_end_with_the_same_networks(pair: Path) -> None:
    states = [torch.load(pair / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert list(states[0]) == [*one_of_two.RUNS, "whole", "resumed"]
    assert tiny.equal(*states)


def test_a_resumed_run_is_equal_to_the_bit(pair: Path) -> None:
    states = torch.load(pair / "0.pt", weights_only=True)
    assert tiny.equal(states["whole"], states["resumed"])


def test_a_launcher_starts_the_processes_of_a_command(cache_dir: Path, tmp_path: Path) -> None:
    """They name different folders; the first one's is the run's. The second one says and writes nothing."""
    words = [str(tiny.ROOT / "train.py"), *tiny.SETTINGS, f"cache_dir={cache_dir}", "batch_size=4"]
    shared = [*words, "trainer=ddp", "trainer.accelerator=cpu", *one_of_two.SHORT]
    first, second = both([*shared, "hydra.run.dir=${oc.env:RANK}"], tmp_path)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout.count("run folder: ") == 1 and "judge on real" in first.stdout
    assert second.stdout == "" and not (tmp_path / "1").exists()
    assert (tmp_path / "0" / "metrics.json").is_file() and not (tmp_path / "0" / ".lock").exists()
    last = tmp_path / "0" / "checkpoints" / "last.ckpt"
    drawn = warm.run(["-m", "mergan.sample", f"checkpoint={last}", "per_class=2"], tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    more = [str(tiny.ROOT / "train.py"), f"ckpt_path={last}", f"cache_dir={cache_dir}"]
    refused = warm.run(more, tmp_path)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "batch_size=4: the run had 2 processes with 4 images each, here are 1" in refused.stderr
    assert "batch_size=8" in refused.stderr
    going_on = warm.run([*more, "batch_size=8"], tmp_path)
    assert going_on.returncode == 0 and "its batches are the same" in going_on.stdout, going_on.stderr
    again = both([*shared, "hydra.run.dir=0"], tmp_path)
    assert [process.returncode for process in again] == [2, 2]
    assert [process.stderr.count("\n") for process in again] == [1, 0]


def children(process: subprocess.Popen[str]) -> dict[int, int]:
    """The process ids of the processes that a command has started, by rank."""
    found = {}
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        found |= {int(part[5:]): int(pid) for part in variables if part.startswith(b"RANK=")}
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(trainer_arguments.processors() < 2, reason="needs two processors")
def test_one_lost_process_ends_the_run_in_one_line(cache_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(tiny.ROOT / "train.py"), *tiny.SETTINGS, f"cache_dir={cache_dir}", *DDP]
    command += ["batch_size=4", "epochs=100000", "trainer.accelerator=cpu", "hydra.run.dir=run"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as started:
        try:
            last = tmp_path / "run" / "checkpoints" / "last.ckpt"
            wait_for(last.is_file, started)
            pids = children(started)
            assert sorted(pids) == [0, 1]
            os.kill(pids[1], signal.SIGKILL)
            _, said = started.communicate(timeout=120)
        finally:
            started.terminate()
    assert started.returncode == 3 and said.count("\n") == 1, said
    assert said.startswith("error: process 1 of 2 was ended by SIGKILL")
    assert f"ckpt_path={last}" in said
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


def wait_for(there: Callable[[], bool], started: subprocess.Popen[Any]) -> None:
    while not there():
        assert started.poll() is None, started.communicate()
        time.sleep(0.05)


# ------------------------------------------------------------------ what is refused


def refusal(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, **trainer: Any) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        trainer_arguments.check(OmegaConf.create({"accelerator": "cpu", **trainer}))
    return str(caught.value)


def test_other_numbers_than_a_launcher_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ranks()[1]
    ddp = {"strategy": "ddp", "devices": "auto"}
    said = refusal(here, monkeypatch, **ddp | {"devices": 1})
    assert said.startswith("trainer.devices=1: torchrun has started 2 processes on this machine")
    assert "torchrun has started 2 processes: add trainer=ddp" in refusal(here, monkeypatch, devices=1)
    assert "processes on 1 machines" in refusal(here, monkeypatch, **ddp, num_nodes=2)
    assert "RANK=2: WORLD_SIZE is 2" in refusal(here | {"RANK": "2"}, monkeypatch, **ddp)
    assert "RANK=x: is not a number" in refusal(here | {"RANK": "x"}, monkeypatch, **ddp)


def test_what_no_machine_can_start() -> None:
    for trainer, said in (
        ({"strategy": "ddp", "devices": "auto", "num_nodes": 2}, "torchrun or srun"),
        ({"strategy": "ddp", "devices": 10**4}, "processors; use no more"),
        ({"strategy": "ddp", "devices": "1,2", "accelerator": "gpu"}, "trainer.devices=2"),
        ({"strategy": "fsdp", "devices": 2}, "trainer.strategy=fsdp: "),
        ({"strategy": "auto", "devices": 2}, "trainer=ddp"),
    ):
        with pytest.raises(ConfigError, match=said):
            trainer_arguments.check(OmegaConf.create({"accelerator": "cpu", **trainer}))
    with pytest.raises(ConfigError, match=r"^trainer\.devices=auto: .* say how many processes"):
        processes_here(OmegaConf.create({"accelerator": "cpu", "devices": "auto"}))


def test_tasks_of_srun_are_processes_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert member() == Member()
    for name, value in (
        ("SLURM_PROCID", "3"),
        ("SLURM_LOCALID", "1"),
        ("SLURM_STEP_NUM_TASKS", "6"),
        ("SLURM_STEP_TASKS_PER_NODE", "2(x3)"),
    ):
        monkeypatch.setenv(name, value)
    assert member() == Member(rank=3, count=6, local_rank=1, local_count=2, starter="srun")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "4,2")
    with pytest.raises(ConfigError, match="same number of processes on every machine"):
        member()


def test_another_batch_than_that_of_the_run(compose: Callable[..., DictConfig]) -> None:
    old = compose("batch_size=4")
    assert same_batch.check_batch(2, old, compose("batch_size=8"), False)
    assert not same_batch.check_batch(2, old, compose("batch_size=4"), True)
    with pytest.raises(ConfigError, match=r"^batch_size=4: the run had 2 processes .* batch_size=8"):
        same_batch.check_batch(2, old, compose("batch_size=4"), False)
