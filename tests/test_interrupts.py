"""Signals: taken between two steps while the program trains, at once while it does not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig

from mergan.run import experiment
from mergan.system import interrupts
from mergan.system.interrupts import Interrupted


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program's handlers, as at its start, and those of the tests again afterwards."""
    monkeypatch.setattr(interrupts, "_received", None)
    numbers = [getattr(signal, name) for name in interrupts.NAMES]
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    interrupts.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


STATUS = {
    signal.SIGINT: 130,
    signal.SIGTERM: 143,
    signal.SIGHUP: 143,
    signal.SIGUSR1: 143,
    signal.SIGUSR2: 143,
}


@pytest.mark.parametrize(("number", "status"), STATUS.items())
def test_a_signal_strikes_at_once_or_waits_for_the_next_check(number: signal.Signals, status: int) -> None:
    with pytest.raises(Interrupted) as stop:
        os.kill(os.getpid(), number)
    assert stop.value.exit_status == status
    done = False
    with pytest.raises(Interrupted) as stop, interrupts.deferred():  # noqa: PT012
        os.kill(os.getpid(), number)
        done = True
        interrupts.check()
        done = False
    assert done and stop.value.exit_status == status


def test_a_signal_after_the_last_check_is_not_lost() -> None:
    with pytest.raises(Interrupted), interrupts.deferred():
        os.kill(os.getpid(), signal.SIGTERM)


def test_who_asks_again_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    with pytest.raises(Interrupted), interrupts.deferred():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # at the same time: the same request
        steps.append("still here")
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 5)
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("not any more")
    assert steps == ["still here"]


def test_handlers_of_others_and_ignored_signals_are_left_alone() -> None:
    signal.signal(signal.SIGUSR2, print)  # submitit takes it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup ignores it
    interrupts.install()
    assert signal.getsignal(signal.SIGUSR2) is print
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


class Asked(pl.Callback):
    """Sends this process a signal in the middle of a step; counts the steps that are begun."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number
        self.begun = self.ended = 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.begun += 1
        if self.begun == 3:
            os.kill(os.getpid(), self.number)

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.ended += 1


@pytest.mark.parametrize(("number", "status"), list(STATUS.items())[:4])
def test_training_ends_after_the_step_under_way(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals, status: int,
) -> None:  # fmt: skip
    asked = Asked(number)
    fit = pl.Trainer.fit

    def watched(self: Any, *arguments: Any, **options: Any) -> None:
        self.callbacks.append(asked)
        fit(self, *arguments, **options)

    monkeypatch.setattr(pl.Trainer, "fit", watched)
    with pytest.raises(Interrupted) as stop:
        experiment.run(compose("strategy=finetune"), tmp_path)
    assert stop.value.exit_status == status
    assert asked.begun == asked.ended == 3
    assert tiny.csv_rows(tmp_path)  # what was logged is there


def test_lightning_does_not_requeue_under_slurm(
    build: Callable[..., tiny.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "7", "PROCID": "0", "LOCALID": "0",
                        "NODEID": "0", "NTASKS_PER_NODE": "1"}.items():  # fmt: skip
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(SLURMEnvironment, "_validate_srun_used", staticmethod(lambda: None))
    trainer = build("strategy=finetune").trainer
    environment = trainer._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue
