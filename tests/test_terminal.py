"""What a run says: before torch is imported, before the first step, after 25 steps, beside its figures."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import warm
from omegaconf import DictConfig

from mergan import config
from mergan.output import facts
from mergan.run import experiment
from mergan.run.announcement import stream_text

SMOKE = "debug=smoke: the figures mean nothing"

# ends the command at the line that the announcement ends with
FIRST_LINES = """
import logging, os, sys
class Watch(logging.Handler):
    def emit(self, record):
        said = record.getMessage()
        print(said, flush=True)
        if said.startswith("curves"):
            os._exit("torch" in sys.modules)
logging.getLogger("mergan").addHandler(Watch())
logging.getLogger("mergan").propagate = False
from mergan.train import main
main()
"""


def test_a_command_says_what_it_is_before_torch_is_imported(tmp_path: Path) -> None:
    words = ["experiment=mnist_ewc", "hydra.run.dir=my runs/first", f"data.root={tmp_path}"]
    command = [sys.executable, "-c", FIRST_LINES, *words]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tiny.ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "strategy    ewc (experiment=mnist_ewc)",
        f"data        mnist in {tmp_path}, 32 pixels",
        "stream      10 tasks of 1 class",
        "run folder  'my runs/first'",
        "curves      tensorboard --logdir 'my runs/first'",
    ]


@pytest.mark.parametrize(
    ("words", "stream"),
    [
        ([], "10 tasks of 1 class"),
        (["strategy=joint"], "1 task of 10 classes"),
        (["scenario=three_tasks"], "3 tasks of 3, 3 and 4 classes"),
        (["scenario=class_incremental", "scenario.classes_per_task=3"], "4 tasks of 3, 3, 3 and 1 classes"),
        (["scenario=repetition"], r"10 tasks of \d to \d classes"),
        (["scenario=repetition", "debug=smoke"], "3 tasks of 2, 3 and 2 classes"),
        (["data=image_folder"], "its tasks follow from the classes of the data"),
        (["data=image_folder", "scenario.tasks=[[cat,dog],[bird]]"], "2 tasks of 2 and 1 classes"),
        (["data=image_folder", "scenario.tasks=[[cat],[dog]]", "strategy=joint"], "its tasks follow .*"),
    ],
)
def test_the_stream_is_described_as_far_as_it_is_known(words: list[str], stream: str) -> None:
    assert re.fullmatch(stream, stream_text(config.apply_caps(config.compose(*words))))


def test_names_and_paths_fit_a_line_and_hide_nothing() -> None:
    assert facts.listed(["cat", "\x1b[2Jdog", "日本"]) == r"cat, \x1b[2Jdog, 日本"
    assert facts.listed([f"class {number}" for number in range(100)]).endswith("class 5, ... (100 in all)")
    assert facts.listed(["x" * 100] * 5) == ", ".join(["xxxxxxxxxx…xxxxxxxxx"] * 2) + ", ... (5 in all)"
    assert facts.typed(Path("/a/b/c d"), Path("/a")) == "'b/c d'"
    assert facts.typed(Path("/a"), Path("/a")) == "/a"
    assert facts.typed(Path("/a/\x1b"), Path("/b")) == r"'/a/\x1b'"


def test_a_smoke_run_says_at_both_ends_that_its_figures_mean_nothing(cache_dir: Path, tmp_path: Path) -> None:
    words = ["debug=smoke", "strategy=finetune", f"cache_dir={cache_dir}", "hydra.run.dir=run"]
    done = warm.run([str(tiny.ROOT / "train.py"), *words, "evaluation.metrics.kid=null"], tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[:3] == [
        SMOKE,
        "strategy    finetune",
        "data        generated images in place of mnist_5k, 32 pixels",
    ]
    assert said[-4] == SMOKE and said[-3].startswith("accuracy ")
    first = next(place for place, line in enumerate(said) if line.startswith("task 1/3"))
    assert [line.partition(" ")[0] for line in said[first - 4 : first]] == [
        "classes",
        "networks",
        "device",
        "training",
    ]
    assert said[first - 4] == "classes     0, 1, 2; 60 images to train on, 30 to measure with"
    assert said[first - 1] == "training    6 steps in 3 epochs, batches of 8"
    assert not any(line.startswith(("judge", "the judge", "not measured")) for line in said)
    assert "on real)" not in done.stdout


def test_a_weak_judge_and_absent_figures_are_said(
    compose: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mergan")
    words = ["strategy=joint", "epochs=1", "evaluation.metrics.kid=null", "evaluation.metrics.density=null"]
    figures = experiment.run(
        compose(*words, "evaluation.reverse_per_class=0", "evaluation.metrics.recall.k=4"), tmp_path
    )
    share = 100 * float(figures["judge_accuracy"])
    said = [line for line in caplog.messages if "decoding" not in line]
    assert f"judge       {share:.1f} % of real images recognised: read accuracy with care" in said
    (task,) = (line for line in said if line.startswith("task 1/1"))
    assert f"  (judge {share:.0f} % on real)  " in task
    assert said[-6:] == [
        said[-6],
        "not measured: density, kid (evaluation.metrics.NAME=null)",
        "not measured: reverse_accuracy (evaluation.reverse_per_class=0)",
        "not measured: recall (it takes 5 generated images of a class, there are 4)",
        "not measured: fid (it takes 500 real images, there are 40)",
        "not measured: forgetting (there is one task)",
    ]
    assert said[-6].startswith(f"the judge recognises only {share:.1f} % of the real images")


class StopAfter(pl.Callback):
    """Stops a run as Ctrl-C would, after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.steps:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("epochs", "rest"),
    [
        # most of these runs is still to come, on the fastest machine as well
        ("epochs=[1000000,1]", "later tasks may be slower; the evaluation after each task comes on top"),
        ("epochs=[1,1000000]", r"\d+ s of it for the evaluation"),
        ("epochs=7", None),  # three steps are left
    ],
)
def test_after_25_steps_a_line_says_how_long_the_rest_takes(
    build: Callable[..., tiny.Run], caplog: pytest.LogCaptureFixture, epochs: str, rest: str | None
) -> None:
    run = build("strategy=finetune", "steps_per_epoch=4" if rest else "steps_per_epoch=2", epochs)
    caplog.set_level(logging.INFO, "mergan")
    with pytest.raises(SystemExit):
        run.fit(StopAfter(27))
    said = [text for text in caplog.messages if text.startswith("about ")]
    assert len(said) == bool(rest)
    assert rest is None or re.fullmatch(rf"about [\d.]+ \w+ left: 3,999,979 steps at \d+ ms; {rest}", said[0])
