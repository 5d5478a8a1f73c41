"""What a run takes and what it was made with: images seen, updates, memory, provenance.json."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from mergan.checkpoints import contents
from mergan.checkpoints import file as checkpoint
from mergan.run import experiment
from mergan.run.provenance import PACKAGES, ROOT
from mergan.system import machine
from mergan.system.errors import CheckpointError, ConfigError
from mergan.system.version import VERSION

Compose = Callable[..., DictConfig]

# Eight steps in two tasks, batches of eight. D judges as many real images as generated ones in each update.
STEPS, BATCH = 8, 8
LATER = STEPS // 2  # steps of the second task
SEEN = {  # words, images of G, images of D, updates of D per step
    "finetune": (["strategy=finetune"], STEPS * BATCH, STEPS * 2 * BATCH, 1),
    "two updates of D": (
        ["strategy=finetune", "objective.critic_steps=2"],
        STEPS * BATCH,
        STEPS * 2 * 2 * BATCH,
        2,
    ),
    "a batch with replays": (["strategy=joint_retrain"], STEPS * BATCH, STEPS * 2 * BATCH, 1),
    "aligned images": (
        ["strategy=replay_alignment", "strategy.batch_size=5"],
        STEPS * BATCH + LATER * 5,
        STEPS * 2 * BATCH,
        1,
    ),
    "distilled images": (
        ["strategy=knowledge_distillation", "strategy.batch_size=3"],
        STEPS * BATCH + LATER * 3,
        STEPS * 2 * BATCH,
        1,
    ),
    "replays for the classifier": (
        ["strategy=rehearsed_alignment", "strategy.batch_size=5", "strategy.replay_per_step=3"],
        STEPS * BATCH + LATER * 5,
        STEPS * 2 * BATCH + LATER * 3,
        1,
    ),
    "the reference gradients of A-GEM": (
        ["strategy=agem", "strategy.capacity=8", "strategy.batch_size=4"],
        STEPS * BATCH + LATER * 4,
        STEPS * 2 * BATCH + LATER * 2 * 4,
        1,
    ),
}


@pytest.mark.parametrize("case", SEEN)
def test_images_and_updates_are_counted(case: str, compose: Compose, tmp_path: Path) -> None:
    words, of_g, of_d, updates = SEEN[case]
    found = experiment.run(compose(*words, "evaluation=accuracy", "evaluation.reverse_per_class=0"), tmp_path)
    assert (found["images_seen_g"], found["images_seen_d"]) == (of_g, of_d)
    assert (found["updates_g"], found["updates_d"]) == (STEPS, STEPS * updates)


def test_an_autoencoder_sees_its_batches_once(compose: Compose, tmp_path: Path) -> None:
    found = experiment.run(compose("strategy=finetune", "learner=cvae"), tmp_path)
    assert found["images_seen_g"] == STEPS * BATCH and "images_seen_d" not in found


@pytest.fixture(scope="module")
def finished(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("costs") / "run"
    experiment.run(compose("strategy=replay_alignment"), folder)
    return folder


def test_a_run_that_goes_on_goes_on_counting(finished: Path, compose: Compose, tmp_path: Path) -> None:
    last = finished / "checkpoints" / "task_00.ckpt"
    found = experiment.run(compose("strategy=replay_alignment", f"ckpt_path={last}"), tmp_path)
    expected = json.loads((finished / "metrics.json").read_text())
    for key in ("images_seen_g", "images_seen_d", "updates_g", "updates_d"):
        assert found[key] == expected[key]


def test_what_an_earlier_version_took_is_not_guessed(
    finished: Path, compose: Compose, tmp_path: Path
) -> None:
    content = checkpoint.read(finished / "checkpoints" / "task_00.ckpt")
    del content["callbacks"][contents.COSTS]
    (tmp_path / "old").mkdir()
    torch.save(content, tmp_path / "old" / "task_00.ckpt")
    words = ("strategy=replay_alignment", f"ckpt_path={tmp_path / 'old' / 'task_00.ckpt'}")
    found = experiment.run(compose(*words), tmp_path / "run")
    assert not [key for key in found if key.startswith(("images_seen", "updates"))]
    assert found["steps"] == STEPS


@pytest.mark.parametrize(
    "state", [None, {}, {"updates": {"g": 1}}, {"updates": {"g": -1}, "images": {}},
              {"updates": {"g": 1.5}, "images": {}}, {"updates": {}, "images": {1: 1}}]
)  # fmt: skip
def test_costs_that_no_run_has_are_refused(state: Any, finished: Path) -> None:
    content = checkpoint.read(finished / "checkpoints" / "last.ckpt")
    content["callbacks"][contents.COSTS] = state
    with pytest.raises(CheckpointError, match=contents.COSTS):
        contents.check(content)


# ---------------------------------------------------------------- provenance.json


def test_a_run_says_what_it_was_made_with(finished: Path) -> None:
    (session,) = json.loads((finished / "provenance.json").read_text())["sessions"]
    assert session["mergan"] == VERSION and set(session["packages"]) == set(PACKAGES)
    assert (session["device"], session["threads"], session["processes"]) == ("cpu", 1, 1)
    assert session["first_step"] == 0 and session["seconds"] > 0
    assert 2**26 < session["peak_memory_bytes"] < 2**36


def test_earlier_sessions_are_kept_when_a_run_goes_on(
    finished: Path, compose: Compose, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "metrics.json").unlink()
    shutil.copy(folder / "checkpoints" / "task_00.ckpt", folder / "checkpoints" / "last.ckpt")
    last = folder / "checkpoints" / "last.ckpt"
    experiment.run(compose("strategy=replay_alignment", f"ckpt_path={last}"), folder)
    sessions = json.loads((folder / "provenance.json").read_text())["sessions"]
    assert [session["first_step"] for session in sessions] == [0, STEPS // 2]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sessions": [1]}', "[" * 100_000])
def test_sessions_that_cannot_be_read_are_named_before_training(
    text: str, finished: Path, compose: Compose, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "metrics.json").unlink()
    (folder / "provenance.json").write_text(text)
    shutil.copy(folder / "checkpoints" / "task_00.ckpt", folder / "checkpoints" / "last.ckpt")
    last = folder / "checkpoints" / "last.ckpt"
    with pytest.raises(ConfigError, match=r"provenance\.json: cannot be read .*remove it"):
        experiment.run(compose("strategy=replay_alignment", f"ckpt_path={last}"), folder)


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *own, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_commit_is_that_of_a_checkout_of_this_project_alone(tmp_path: Path) -> None:
    assert machine.commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "other.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "a project that has mergan installed inside")
    assert machine.commit(tmp_path) is None
    (tmp_path / machine.TRACKED).parent.mkdir(parents=True)
    (tmp_path / machine.TRACKED).write_text("VERSION = 1\n")
    assert machine.commit(tmp_path) is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "mergan itself")
    head = git(tmp_path, "rev-parse", "HEAD")
    found = machine.commit(tmp_path)
    assert found is not None and len(found) == 12 and head.startswith(found)
    (tmp_path / "other.py").write_text("changed = True\n")
    assert machine.commit(tmp_path) == f"{found}+"
    assert (ROOT / machine.TRACKED).is_file()


def test_versions_of_what_is_not_installed_are_left_out() -> None:
    found = machine.versions(["torch", "no-such-package"])
    assert found == {"torch": torch.__version__.split("+")[0]} or found == {"torch": torch.__version__}


PEAKS = """
from mergan.system import machine
block = bytearray(2**28)
first = machine.peak_memory()
del block
machine.forget_peak()
second = machine.peak_memory()
print(first, second)
"""


@pytest.mark.skipif(not machine.RESET.exists(), reason="only Linux forgets the peak of a process")
def test_the_peak_of_memory_is_that_since_it_was_forgotten() -> None:
    done = subprocess.run([sys.executable, "-c", PEAKS], cwd=ROOT, check=True, capture_output=True, text=True)
    first, second = map(int, done.stdout.split())
    assert 2**28 < first < 2**30 and second < first - 2**27
