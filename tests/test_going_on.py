"""A resumed run is the run that was asked for: what depends on a changed setting follows it, data may move
but not change, and nothing that is there is written over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import warm
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from mergan import config
from mergan.checkpoints import contents, trust
from mergan.checkpoints import file as checkpoint
from mergan.run import experiment, resume
from mergan.system.errors import CheckpointError, ConfigError
from mergan.system.files import save_atomically
from torture.compare import differences

Compose = Callable[..., DictConfig]

CHANGED: dict[str, Any] = {  # another value for every key of the top level, and for what other keys repeat
    "epochs": 3, "steps_per_epoch": 3, "batch_size": 4, "embedding_dim": 6, "lr": 0.25, "lr_d": 0.125,
    "seed": 7, "cache_dir": "other", "ckpt_path": None, "init_from": None, "resume": "auto",
    "allow_changes": True, "trust": ["some_module"], "data.root": "/elsewhere", "data.download": False,
    "data.channels": 3, "data.num_classes": 5, "data.image_size": 32, "scenario.classes_per_task": 4,
    "evaluation.k": 3, "evaluation.split": "val", "evaluation.seed": 3, "recovery.attempts": 2,
    "recovery.lr_factor": 0.25, "evaluation.inception_weights": "/elsewhere/weights.pth",
}  # fmt: skip
OWN = ("ckpt_path", "init_from", "allow_changes")  # say how to start; tried below
TOO_LATE = (
    "embedding_dim",
    "data.channels",
    "data.num_classes",
    "data.image_size",
)  # the networks are built so
GROUPS = ["strategy", "network", "objective", "data", "scenario", "evaluation", "trainer", "experiment",
          "learner"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A run whose second task is still to come."""
    folder = tmp_path_factory.mktemp("run")
    experiment.run(tiny.compose(cache_dir, "strategy=finetune", "epochs=2"), folder)
    (folder / "metrics.json").unlink()
    shutil.copy(folder / "checkpoints" / "task_00.ckpt", folder / "checkpoints" / "last.ckpt")
    return folder


def going_on(compose: Compose, path: Path, *overrides: str) -> resume.Continuation:
    """How `train.py ckpt_path=PATH` goes on with these overrides."""
    cfg = compose("strategy=finetune", f"ckpt_path={path}", *overrides)
    own = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    command = resume.Command(cfg, overrides, GROUPS, [config.CONF], trust.of_command(own, [config.CONF]))
    return resume.restore(command)


def repeated(compose: Compose) -> dict[str, str]:
    """Every key that repeats another one, in any data set and network, with that other one."""
    found = {}
    for overrides in (["data=synthetic"], ["network=upsample"], ["strategy=joint"]):
        links = config.links(compose(*overrides))
        found |= {key: match[1] for key, text in links.items() if (match := config.REFERENCE.fullmatch(text))}
    return found


def test_the_command_of_an_older_run_goes_on_with_it(compose: Compose, run: Path, tmp_path: Path) -> None:
    """Of a version whose learner had one argument less."""
    content = checkpoint.read(run / "checkpoints" / "last.ckpt")
    del content[contents.KEY]["config"]["learner"]["shared_rate"]
    last = tmp_path / "last.ckpt"
    save_atomically(content, last)
    assert going_on(compose, last, "learner=acgan").changed == ()
    with pytest.raises(ConfigError, match=r"^learner\.shared_rate: not as in the run"):
        going_on(compose, last, "learner=acgan", "learner.shared_rate=0.5")


def test_every_key_is_tried(compose: Compose) -> None:
    cfg = compose()
    top = {str(key) for key in cfg if not isinstance(cfg[key], DictConfig)} - {"caps"}
    assert top | set(repeated(compose).values()) <= CHANGED.keys()
    assert {"learner.lr": "lr", "learner.batch_size": "batch_size"}.items() <= repeated(compose).items()


@pytest.mark.parametrize("key", [key for key in CHANGED if key not in OWN])
def test_what_repeats_a_changed_key_follows_it_or_the_change_is_refused(
    compose: Compose, run: Path, tmp_path: Path, key: str
) -> None:
    path, value = run / "checkpoints" / "last.ckpt", CHANGED[key]
    override = f"{key}={str(value).replace(chr(39), '') if value is not None else 'null'}"
    if not config.harmless(key):
        with pytest.raises(ConfigError, match=rf"^{key}: not as in the run"):
            going_on(compose, path, override)
    goes_on = going_on(compose, path, override, "allow_changes=true")
    found = OmegaConf.to_container(goes_on.cfg, resolve=True, enum_to_str=True)
    assert OmegaConf.select(OmegaConf.create(found), key) == value
    for other, source in repeated(compose).items():
        if source == key and OmegaConf.select(goes_on.cfg, other) is not None:
            assert OmegaConf.select(goes_on.cfg, other) == value, other
    if key in TOO_LATE:
        with pytest.raises(CheckpointError, match=rf"{key}|other classes"):
            experiment.train(goes_on.cfg, tmp_path, goes_on)
        assert not any(tmp_path.iterdir())


def test_changed_rates_are_those_that_train(compose: Compose, run: Path, tmp_path: Path) -> None:
    changes = ["lr=0.25", "lr_d=0.125", "learner.betas=[0.25,0.5]", "batch_size=4", "allow_changes=true"]
    goes_on = going_on(compose, run / "checkpoints" / "last.ckpt", *changes)
    experiment.train(goes_on.cfg, tmp_path / "run", goes_on)
    content = checkpoint.read(tmp_path / "run" / "checkpoints" / "last.ckpt")
    groups = [state["param_groups"][0] for state in content["optimizer_states"]]
    assert [group["lr"] for group in groups] == [0.25, 0.125]
    assert [list(group["betas"]) for group in groups] == [[0.25, 0.5]] * 2
    # the next continuation knows how this one was composed
    again = tmp_path / "run" / "checkpoints" / "task_00.ckpt"
    shutil.copy(tmp_path / "run" / "checkpoints" / "last.ckpt", again)
    later = going_on(compose, again, "lr=0.5", "allow_changes=true")
    assert (later.cfg.learner.lr, later.cfg.learner.lr_d, later.cfg.batch_size) == (0.5, 0.125, 4)
    assert "learner.betas" not in later.links and later.links["learner.lr"] == "${lr}"


def test_a_value_that_was_computed_from_a_changed_one_must_be_given(
    compose: Compose, cache_dir: Path, tmp_path: Path
) -> None:
    formula = ["learner.lr_schedule=${oc.select:none,constant}", "data.source.seed=${oc.select:seed}"]
    experiment.run(tiny.compose(cache_dir, "strategy=finetune", "epochs=1", *formula), tmp_path)
    path = tmp_path / "checkpoints" / "task_00.ckpt"
    assert going_on(compose, path, "lr=0.5", "allow_changes=true").cfg.learner.lr == 0.5
    with pytest.raises(ConfigError, match=r"^seed: data\.source\.seed was composed from it"):
        going_on(compose, path, "seed=5", "allow_changes=true")
    given = going_on(compose, path, "seed=5", "data.source.seed=5", "allow_changes=true")
    assert (given.cfg.learner.seed, given.cfg.data.source.seed) == (5, 5)


def test_values_set_apart_from_the_start_stay_apart(
    compose: Compose, cache_dir: Path, tmp_path: Path
) -> None:
    experiment.run(tiny.compose(cache_dir, "strategy=finetune", "epochs=1", "learner.lr=0.125"), tmp_path)
    goes_on = going_on(compose, tmp_path / "checkpoints" / "task_00.ckpt", "lr=0.5", "allow_changes=true")
    assert (goes_on.cfg.lr, goes_on.cfg.learner.lr) == (0.5, 0.125)


def test_another_choice_of_a_group_replaces_it_whole(compose: Compose, run: Path) -> None:
    path = run / "checkpoints" / "last.ckpt"
    goes_on = going_on(compose, path, "strategy=replay_alignment", "allow_changes=true")
    assert goes_on.cfg.strategy == compose("strategy=replay_alignment").strategy
    back = going_on(compose, path, "strategy=joint", "allow_changes=true", "scenario.tasks=[[0,1,2,3]]")
    assert back.cfg.scenario.joined  # which the file of the choice sets at the top
    with pytest.raises(ConfigError, match=r"scenario\.joined"):
        going_on(compose, path, "strategy=joint")


def test_a_hostile_link_moves_nothing_but_values(compose: Compose, run: Path, tmp_path: Path) -> None:
    content = checkpoint.read(run / "checkpoints" / "last.ckpt")
    content[contents.KEY]["links"] |= {
        "trainer.default_root_dir": "${data.root}",
        "strategy._target_": "${data.root}",
        "cache_dir": "${data.root}",
        "learner.betas.first": "${seed}",
        "epochs.0.0": "${seed}",
        "seed.x": "${seed}",
    }
    path = tmp_path / "last.ckpt"
    torch.save(content, path)
    for override in ("data.root=/somewhere",):
        with pytest.raises(ConfigError, match=r"was composed from it"):
            going_on(compose, path, override)
    cfg = going_on(compose, path, "seed=3", "allow_changes=true").cfg
    assert (
        cfg.strategy._target_ == "mergan.strategies.finetune.Finetune"
        and "default_root_dir" not in cfg.trainer
    )


# ---------------------------------------------------------------- moved and changed data

SMALL = [part for part in tiny.SETTINGS if not part.startswith("data")] + [
    "data=image_folder", "data.image_size=16", "strategy=joint_retrain", "scenario.classes_per_task=1",
    "steps_per_epoch=null",
]  # fmt: skip


def paint(root: Path, counts: dict[str, int]) -> None:
    """Noise pictures in class folders."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            noise = np.random.default_rng([number, index]).integers(0, 200, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / f"{index}.png")


def train(folder: Path, *words: str) -> Any:
    return warm.run([str(tiny.ROOT / "train.py"), *words], folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a folder of pictures, both named relative to where it was started."""
    place = tmp_path_factory.mktemp("pictures")
    paint(place / "images", {"black": 6, "white": 8})
    (place / "start").mkdir()
    result = train(
        place / "start", *SMALL, "data.root=../images", "hydra.run.dir=../run", "cache_dir=../cache"
    )
    assert result.returncode == 0, result.stderr
    return place


def unfinished(pictures: Path, place: Path) -> Path:
    """A copy of run and pictures elsewhere, whose second task is still to come; returns its last "
    "checkpoint."""
    shutil.copytree(pictures / "run", place / "run")
    shutil.copytree(pictures / "images", place / "images")
    last = place / "run" / "checkpoints" / "last.ckpt"
    (place / "run" / "metrics.json").unlink()
    shutil.copy(last.with_name("task_00.ckpt"), last)
    last.with_name("task_01.ckpt").unlink()
    return last


def test_a_run_goes_on_from_another_working_directory(pictures: Path, tmp_path: Path) -> None:
    last = unfinished(pictures, tmp_path)
    result = train(tmp_path, f"ckpt_path={last}")  # the pictures are where they were
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    assert "going on    JointRetrain on ImageFolder, from run/checkpoints/last.ckpt" in said
    (where,) = (line for line in said if line.startswith("going on at "))
    assert re.fullmatch(r"going on at task 2/2, epoch 1/2 \(step \d+\) from run/checkpoints/last.ckpt", where)
    assert differences(tmp_path / "run", pictures / "run") == []


def test_runs_and_data_may_move(pictures: Path, tmp_path: Path) -> None:
    last = unfinished(pictures, tmp_path / "a")
    for path in (tmp_path / "a" / "images").rglob("*.png"):
        os.utime(path, (1, 1))
    result = train(tmp_path, f"ckpt_path={last.relative_to(tmp_path)}", "data.root=a/images")
    assert result.returncode == 0, result.stderr
    assert differences(tmp_path / "a" / "run", pictures / "run") == []


def add_a_picture(root: Path) -> None:
    shutil.copy(root / "white" / "0.png", root / "white" / "new.png")


def remove_a_picture(root: Path) -> None:
    (root / "black" / "0.png").unlink()


def replace_a_picture(root: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(root / "white" / "3.png")


def add_a_class(root: Path) -> None:
    paint(root, {"aqua": 4})


def remove_a_class(root: Path) -> None:
    shutil.rmtree(root / "white")


def rename_a_class(root: Path) -> None:
    (root / "white").rename(root / "zebra")


DATA = {  # what is changed, and the words of the refusal
    add_a_picture: ("'white'", "images", "the run had"),
    remove_a_picture: ("'black'", "images", "the run had"),
    replace_a_picture: ("'white'", "others"),
    add_a_class: ("aqua",),
    remove_a_class: ("white",),
    rename_a_class: ("white",),
}


@pytest.mark.parametrize("change", DATA, ids=lambda change: change.__name__)
def test_changed_data_is_refused_with_the_difference(
    pictures: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    last = unfinished(pictures, tmp_path)
    change(tmp_path / "images")
    before = last.read_bytes()
    result = train(tmp_path, f"ckpt_path={last}", f"data.root={tmp_path / 'images'}")
    (line,) = result.stderr.splitlines()
    assert result.returncode == 2 and all(word in line for word in DATA[change]), line
    assert last.read_bytes() == before
    if change in (add_a_picture, remove_a_picture, replace_a_picture):
        allowed = train(
            tmp_path, f"ckpt_path={last}", f"data.root={tmp_path / 'images'}", "allow_changes=true"
        )
        assert allowed.returncode == 0, allowed.stderr


@pytest.mark.parametrize("change", DATA, ids=lambda change: change.__name__)
def test_evaluation_matches_classes_by_name(
    pictures: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    shutil.copytree(pictures / "images", tmp_path / "images")
    path = pictures / "run" / "checkpoints" / "last.ckpt"

    def evaluate(root: Path, *words: str) -> Any:
        own = [f"checkpoint={path}", f"root={root}", "cache_dir=cache", "overwrite=true", *words]
        return warm.run(["-m", "mergan.evaluate", *own, *tiny.MEASURES], tmp_path)

    expected = evaluate(pictures / "images", "out=expected.json")
    assert expected.returncode == 0, expected.stderr
    change(tmp_path / "images")
    result = evaluate(tmp_path / "images", "out=found.json")
    if change is add_a_class:
        assert result.returncode == 0, result.stderr
        found, wanted = (
            json.loads((tmp_path / f"{name}.json").read_text()) for name in ("found", "expected")
        )
        assert found == wanted
        return
    (line,) = result.stderr.splitlines()
    assert result.returncode == 2 and any(word in line for word in DATA[change]), line
    if change in (add_a_picture, remove_a_picture, replace_a_picture):
        assert evaluate(tmp_path / "images", "allow_changes=true").returncode == 0


def test_a_checkpoint_is_used_where_the_places_of_its_run_are_not(
    run: Path, cache_dir: Path, tmp_path: Path
) -> None:
    content = checkpoint.read(run / "checkpoints" / "last.ckpt")
    own = content[contents.KEY]["config"]
    own |= {"cache_dir": "/dev/null/cache", "init_from": "/nowhere/last.ckpt", "ckpt_path": "/nowhere/x.ckpt"}
    own["trainer"] |= {"accelerator": "cpu", "strategy": "ddp", "devices": 4096, "num_nodes": 4096}
    own["evaluation"] |= {"features": "inception", "inception_weights": "/nowhere/weights.pth"}
    path = tmp_path / "task_00.ckpt"
    torch.save(content, path)
    sampled = warm.run(["-m", "mergan.sample", f"checkpoint={path}", "per_class=2"], tmp_path)
    assert sampled.returncode == 0, sampled.stderr
    words = [f"checkpoint={path}", f"cache_dir={cache_dir}", *tiny.MEASURES]
    assert warm.run(["-m", "mergan.evaluate", *words], tmp_path).returncode == 0
    here = [f"cache_dir={cache_dir}", "evaluation.features=judge", "allow_changes=true"]
    went_on = train(tmp_path, f"ckpt_path={path}", "hydra.run.dir=run", *here)
    assert went_on.returncode == 0, went_on.stderr
    kept = checkpoint.read(tmp_path / "run" / "checkpoints" / "last.ckpt")[contents.KEY]["config"]
    assert kept["init_from"] == "/nowhere/last.ckpt"  # it stands for where the networks came from
    assert kept["trainer"]["devices"] == 1 and "strategy" not in kept["trainer"]


def test_another_number_of_threads_is_said(
    compose: Compose, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = checkpoint.read(run / "checkpoints" / "last.ckpt")
    content[contents.KEY]["threads"] = 7
    torch.save(content, tmp_path / "task_00.ckpt")
    goes_on = going_on(compose, tmp_path / "task_00.ckpt")
    with caplog.at_level("INFO"):
        experiment.train(goes_on.cfg, tmp_path / "run", goes_on)
    said = [record.message for record in caplog.records if record.message.startswith("the run had 7 threads")]
    assert len(said) == 1 and "now there are 1" in said[0] and "OMP_NUM_THREADS=7" in said[0]


# ---------------------------------------------------------------- nothing is written over


def test_no_command_writes_over_a_run(run: Path, cache_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    bare = tmp_path / "bare" / "checkpoints"
    bare.mkdir(parents=True)
    shutil.copy(run / "checkpoints" / "task_00.ckpt", bare / "task_00.ckpt")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    new = [*tiny.SETTINGS, f"cache_dir={cache_dir}", "strategy=finetune"]
    first = run / "checkpoints" / "task_00.ckpt"
    for words in (
        [f"ckpt_path={first}", f"hydra.run.dir={other}"],
        [f"ckpt_path={first}", f"hydra.run.dir={bare.parent}"],
        [*new, f"hydra.run.dir={other}"],
        [*new, f"hydra.run.dir={bare.parent}"],
        [*new, f"hydra.run.dir={bare.parent}", "resume=auto"],
        [*new, f"hydra.run.dir={other}", f"init_from={first}"],
    ):
        result = train(tmp_path, *words)
        (line,) = result.stderr.splitlines()
        assert result.returncode == 2 and "hydra.run.dir=" in line, line
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_finished_run_without_checkpoints_is_not_trained_again(
    run: Path, cache_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoints"))
    (folder / "metrics.json").write_text('{"accuracy": 0.5}')
    words = [*tiny.SETTINGS, f"cache_dir={cache_dir}", f"hydra.run.dir={folder}", "resume=auto"]
    result = train(tmp_path, *words)
    assert result.returncode == 0 and "finished already" in result.stdout, result.stderr
    assert not (folder / "checkpoints").exists()


def test_a_lost_configuration_file_does_not_stop_resume(run: Path, cache_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "config.yaml").unlink()
    words = [*tiny.SETTINGS, "strategy=finetune", f"cache_dir={cache_dir}", f"hydra.run.dir={folder}"]
    result = train(tmp_path, *words, "resume=auto")
    assert result.returncode == 0, result.stderr
    assert "task 1/2" not in result.stdout.replace("going on at", "") and (folder / "metrics.json").is_file()


def test_refused_commands_leave_no_folders(tmp_path: Path) -> None:
    for words in (["epochs=0"], ["ckpt_path=nowhere.ckpt"], ["data=image_folder", "data.root=nowhere"]):
        assert train(tmp_path, *words, "cache_dir=cache").returncode == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["home", "a\\b 'c"])
def test_the_home_folder_is_meant_by_every_path(tmp_path: Path, name: str) -> None:
    home, here = tmp_path / name, tmp_path / "here"
    home.mkdir()
    here.mkdir()
    paint(home / "images", {"a": 3, "b": 3})
    words = [*SMALL, "data.root='~/images'", "cache_dir='~/cache'", "hydra.run.dir='~/run'", "epochs=1"]
    result = warm.run([str(tiny.ROOT / "train.py"), *words], here, {"HOME": str(home)})
    assert result.returncode == 0, result.stderr
    assert {path.name for path in home.iterdir()} == {"images", "cache", "run"}
    words = ["checkpoint='~/run/checkpoints/last.ckpt'", "out='~/samples.npz'", "per_class=2"]
    result = warm.run(["-m", "mergan.sample", *words], here, {"HOME": str(home)})
    assert result.returncode == 0, result.stderr
    assert (home / "samples.npz").is_file() and not any(here.iterdir())
