"""Callbacks hear of tasks from the learner, and parts get what their constructors ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
from omegaconf import DictConfig

from mergan.learners import ContinualLearner, TaskCallback
from mergan.run import experiment

Compose = Callable[..., DictConfig]
HEARD: list[tuple[str, int, int]] = []


class Listener(TaskCallback):
    """Notes what it hears, with the epoch and whether a snapshot and a checkpoint of the task are there."""

    def on_task_start(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        HEARD.append(("start", learner.task.index, trainer.current_epoch))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        HEARD.append(("epoch", pl_module.task.index, trainer.current_epoch))  # type: ignore[union-attr,operator]

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        frozen = tiny.equal(tiny.state(learner.snapshot), tiny.state(learner.sampler))
        saved = (
            Path(trainer.default_root_dir) / "checkpoints" / f"task_{learner.task.index:02d}.ckpt"
        ).exists()
        assert frozen and not saved
        HEARD.append(("end", learner.task.index, trainer.current_epoch))


class Asking(pl.Callback):
    """Asks for all that is on offer, and has a setting of its own."""

    made: list[Asking] = []

    def __init__(
        self, own: int, folder: Path, resume_step: int, config: dict[str, Any], links: dict[str, str]
    ) -> None:
        self.own, self.folder, self.resume_step, self.config, self.links = (
            own,
            folder,
            resume_step,
            config,
            links,
        )
        self.made.append(self)


@pytest.fixture(autouse=True)
def _nothing_heard() -> None:
    HEARD.clear()


def listening(cache_dir: Path, *overrides: str) -> DictConfig:
    return tiny.compose(
        cache_dir,
        "strategy=finetune",
        "+callbacks.listener={_target_:test_task_callbacks.Listener}",
        *overrides,
    )


def test_a_task_starts_once_and_ends_once(cache_dir: Path, tmp_path: Path) -> None:
    experiment.run(listening(cache_dir), tmp_path / "run")
    assert HEARD == [
        ("start", 0, 0), ("epoch", 0, 0), ("epoch", 0, 1), ("end", 0, 1),
        ("start", 1, 2), ("epoch", 1, 2), ("epoch", 1, 3), ("end", 1, 3),
    ]  # fmt: skip


def test_a_run_that_goes_on_within_a_task_does_not_start_it_again(cache_dir: Path, tmp_path: Path) -> None:
    stopped = listening(cache_dir, "+callbacks.stop={_target_:tiny.StopAt,epoch:3}")
    with pytest.raises(KeyboardInterrupt):
        experiment.run(stopped, tmp_path / "run")
    HEARD.clear()
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    experiment.run(listening(cache_dir, f"ckpt_path={last}"), tmp_path / "run")
    assert HEARD == [("epoch", 1, 3), ("end", 1, 3)]


def test_a_part_gets_what_its_constructor_asks_for(cache_dir: Path, tmp_path: Path) -> None:
    Asking.made.clear()
    asking = "+callbacks.asking={_target_:test_task_callbacks.Asking,own:3}"
    tiny.build(tiny.compose(cache_dir, "lr=0.25", asking), tmp_path)
    (made,) = Asking.made
    assert (made.own, made.folder, made.resume_step) == (3, tmp_path, -1)
    assert made.config["learner"]["lr"] == 0.25 and made.links["learner.lr"] == "${lr}"
