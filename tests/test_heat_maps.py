"""The callback that draws the measured matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tiny
from omegaconf import DictConfig
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mergan.output import plots
from mergan.run import experiment

Compose = Callable[..., DictConfig]


def test_matrices_are_drawn_after_each_task_and_at_the_end(compose: Compose, tmp_path: Path) -> None:
    cfg = compose("strategy=finetune", "epochs=1", tiny.EVENTS, tiny.HEAT_MAPS)
    run = experiment.build_experiment(cfg, tmp_path)
    run.train()
    evaluation = run.evaluation
    drawn = plots.heat_maps(evaluation.matrices, run.pool.class_names, evaluation.evaluator.higher_is_better)
    with Image.open(tmp_path / "matrices.png") as picture:
        assert np.array_equal(np.asarray(picture), drawn)
    board = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    board.Reload()
    assert [event.step for event in board.Images("values after each task")] == [1, 2]  # the tasks


def test_a_run_that_ended_before_they_were_drawn_draws_them(compose: Compose, tmp_path: Path) -> None:
    settings = ("strategy=finetune", "epochs=1", "scenario.tasks=[[0,1]]", tiny.HEAT_MAPS)
    experiment.run(compose(*settings), tmp_path)
    first = (tmp_path / "matrices.png").read_bytes()
    (tmp_path / "matrices.png").unlink()
    (tmp_path / "metrics.json").unlink()
    experiment.run(compose(*settings, f"ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}"), tmp_path)
    assert (tmp_path / "matrices.png").read_bytes() == first
