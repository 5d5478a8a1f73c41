"""What the configuration of a checkpoint may name: classes of the command's own files, and nothing else."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import warm
import yaml
from omegaconf import OmegaConf

from mergan import config
from mergan.checkpoints import contents, trust
from mergan.checkpoints import file as checkpoint
from mergan.config import slots
from mergan.run import experiment
from mergan.system.errors import CheckpointError, ConfigError

HOSTILE = {  # each with the word that the message must hold
    "a function": ("os.system", "trust=[os]"),
    "a builtin": ("builtins.eval", "trust=[builtins]"),
    "a class of a library": ("subprocess.Popen", "trust=[subprocess]"),
    "through an attribute": ("mergan.system.files.os.system", "trust=[mergan.system.files.os]"),
    "Hydra itself": ("hydra.utils.instantiate", "trust=[hydra.utils]"),
    "of another slot": ("mergan.networks.dcgan.Discriminator", "trust=[mergan.networks.dcgan]"),
    "a function of mergan": ("mergan.system.files.write_text", "trust=[mergan.system.files]"),
    "a module": ("mergan", "full name"),
    "no word": ("os.system ", "full name"),
    "a call": ("os.system('true')", "full name"),
    "a number": (3, "full name"),
    "nothing": (None, "full name"),
    "a list": (["os.system"], "full name"),
}
PLACES: dict[str, Any] = {
    "the top": (),
    "a node": ("strategy",),
    "below a node": ("network", "generator"),
    "an argument": ("network", "generator", "width"),
    "a list": ("learner", "betas", 0),
    "in a list in a list": ("scenario", "tasks", 0, 0),
    "a callback": ("callbacks", "samples"),
    "a new callback": ("callbacks", "new"),
    "a metric": ("evaluation", "metrics", "recall"),
    "a logger": ("logger", "csv"),
    "the trainer": ("trainer",),
    "an argument of the trainer": ("trainer", "profiler"),
    "data": ("data", "source", "root"),
    "a top-level value": ("cache_dir",),
}


@pytest.fixture(scope="module")
def own(cache_dir: Path) -> dict[str, Any]:
    """The configuration of a tiny run as it stands in a checkpoint."""
    cfg = tiny.compose(cache_dir, "scenario.tasks=[[0],[1]]")
    return OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)  # type: ignore[return-value]


def put(tree: Any, keys: tuple[Any, ...], value: Any) -> Any:
    """A copy of nested dicts and lists with a value at a place."""
    if not keys:
        return {**tree, **value} if isinstance(value, dict) else value
    copy = dict(tree) if isinstance(tree, dict) else list(tree) if isinstance(tree, list) else {}
    inner = copy.get(keys[0], {}) if isinstance(copy, dict) else copy[keys[0]]
    copy[keys[0]] = put(inner, keys[1:], value) if keys[1:] else value
    return copy


def test_what_the_files_of_the_command_name_is_its_own(cache_dir: Path, own: dict[str, Any]) -> None:
    trusted = trust.of_command({}, [config.CONF])
    trusted.check(own, "checkpoint x")
    for name in tiny.STRATEGIES:
        cfg = tiny.compose(cache_dir, f"strategy={name}", "objective=hinge", "network=upsample", "epochs=1")
        trusted.check(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True), "checkpoint x")  # type: ignore[arg-type]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", HOSTILE)
def test_anything_else_is_refused_at_every_depth(own: dict[str, Any], kind: str, place: str) -> None:
    target, word = HOSTILE[kind]
    bad = put(own, PLACES[place], {"_target_": target, "_args_": ["touch ran"], "command": "touch ran"})
    before = set(sys.modules)
    with pytest.raises(CheckpointError) as refused:
        trust.of_command({}, [config.CONF]).check(bad, "checkpoint x.ckpt")
    message = str(refused.value)
    assert message.startswith("checkpoint x.ckpt: ") and word in message and "\n" not in message
    assert set(sys.modules) == before


@pytest.mark.parametrize("word", ["_args_", "_partial_", "_recursive_"])
def test_an_allowed_target_may_say_nothing_more(own: dict[str, Any], word: str) -> None:
    bad = put(own, ("strategy", word), True)
    with pytest.raises(CheckpointError, match=rf"strategy\.{word}"):
        trust.of_command({}, [config.CONF]).check(bad, "checkpoint x")


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "leak_${oc.env:HOME}", "${seed}", "a${b}c", "???"])
def test_nothing_is_interpolated(own: dict[str, Any], text: str) -> None:
    for place in (("cache_dir",), ("data", "root"), ("strategy", "mode"), ("scenario", "tasks", 0, 0)):
        with pytest.raises(CheckpointError, match=r"which is no value"):
            trust.of_command({}, [config.CONF]).check(put(own, place, text), "checkpoint x")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trainer.default_root_dir", "leak"),
        ("trainer.profiler", "/tmp/leak"),
        ("logger.csv.folder", "leak"),
        ("logger.csv.save_dir", "leak"),
        ("callbacks.samples.dirpath", "leak"),
        ("callbacks.samples.name", "../leak"),
        ("callbacks.samples.name", "~/leak"),
        ("callbacks.samples.options.filename", "leak"),
    ],
)
def test_places_to_write_to_come_from_the_command(own: dict[str, Any], key: str, value: str) -> None:
    bad = put(own, tuple(key.split(".")), value)
    with pytest.raises(CheckpointError, match=rf"{key}=.*comes from the command"):
        trust.of_command({}, [config.CONF]).check(bad, "checkpoint x")
    trust.of_command(bad, [config.CONF]).check(bad, "checkpoint x")  # which says the same


def test_what_the_command_names_word_for_word_is_allowed_in_that_slot_only(
    own: dict[str, Any], tmp_path: Path
) -> None:
    mine = put(own, ("strategy",), {"_target_": "elsewhere.Mine"})
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text("_target_: elsewhere.Mine\n")
    for trusted in (trust.of_command(mine, [config.CONF]), trust.of_command({}, [config.CONF, tmp_path])):
        trusted.check(mine, "checkpoint x")
        with pytest.raises(CheckpointError, match=r"objective is elsewhere\.Mine"):
            trusted.check(put(own, ("objective",), {"_target_": "elsewhere.Mine"}), "checkpoint x")


def test_packages_of_files_are_those_of_hydra(tmp_path: Path) -> None:
    for name, text in {
        "network/a.yaml": "generator: {_target_: m.A}",
        "network/deep/b.yaml": "_target_: m.B",
        "any/c.yaml": "# @package _global_\nobjective: {_target_: m.C}",
        "any/d.yaml": "# @package data.source\n_target_: m.D",
        "any/broken.yaml": "a: [",
        "callbacks/e.yaml": "mine: {_target_: m.E, inner: [{_target_: m.F}]}",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert dict(trust.of_command({}, [tmp_path]).targets) == {
        "network.generator": {"m.A"},
        "network.deep": {"m.B"},
        "objective": {"m.C"},
        "data.source": {"m.D"},
        "callbacks.*": {"m.E"},
        "callbacks.*.inner.*": {"m.F"},
    }


def test_trusted_modules_give_classes_of_their_own_only(
    own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trusted_one.py").write_text(
        "from collections import Counter\nfrom os import system\nclass Mine: ...\ndef function(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def check(target: str, *modules: str) -> None:
        bad = put(own, ("strategy",), {"_target_": target})
        trust.of_command({}, [config.CONF], modules).check(bad, "checkpoint x")

    check("trusted_one.Mine", "trusted_one")
    for name, words in {
        "Counter": r"defined in collections; to allow it: trust=\[trusted_one,collections\]",
        "system": "has no class system",
        "function": "has no class function",
        "nothing": "has no class nothing",
    }.items():
        with pytest.raises(CheckpointError, match=words):
            check(f"trusted_one.{name}", "trusted_one")
    with pytest.raises(CheckpointError, match=r"trusted_two cannot be imported.*PYTHONPATH"):
        check("trusted_two.Mine", "trusted_two")
    with pytest.raises(CheckpointError, match=r"trust=\[trusted_one\.Mine\]"):
        check("trusted_one.Mine.method", "trusted_one")
    for wrong in ("a b", "os;", "", "a..b", "*"):
        with pytest.raises(ConfigError, match=r"^trust="):
            trust.of_command({}, [config.CONF], [wrong])


# ---------------------------------------------------------------- in commands

EVIL = """
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
from mergan.strategies import Strategy
class Evil(Strategy): ...
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A run whose second task is still to come."""
    folder = tmp_path_factory.mktemp("run")
    experiment.run(tiny.compose(cache_dir, "strategy=finetune", "epochs=1"), folder)
    (folder / "metrics.json").unlink()
    shutil.copy(folder / "checkpoints" / "task_00.ckpt", folder / "checkpoints" / "last.ckpt")
    return folder


def altered(run: Path, folder: Path, keys: tuple[Any, ...], value: Any) -> Path:
    """A copy of the run folder with another value in the configuration of its last checkpoint."""
    shutil.copytree(run, folder)
    path = folder / "checkpoints" / "last.ckpt"
    content = checkpoint.read(path)
    content[contents.KEY]["config"] = put(content[contents.KEY]["config"], keys, value)
    torch.save(content, path)
    return path


def doors(path: Path, cache: Path, folder: Path) -> dict[str, list[str]]:
    """Every command that reads a checkpoint."""
    train, here = str(tiny.ROOT / "train.py"), f"cache_dir={cache}"
    return {
        "sample": [
            "-m",
            "mergan.sample",
            f"checkpoint={path}",
            f"out={folder / 'samples.npz'}",
            "per_class=2",
        ],
        "evaluate": ["-m", "mergan.evaluate", f"checkpoint={path}", here, *tiny.MEASURES],
        "ckpt_path": [train, f"ckpt_path={path}", here],
        "resume": [train, "resume=auto", f"hydra.run.dir={path.parent.parent}", here],
    }


@pytest.mark.parametrize("door", ["sample", "evaluate", "ckpt_path", "resume"])
def test_a_module_in_the_working_directory_is_not_trusted(
    run: Path, cache_dir: Path, tmp_path: Path, door: str
) -> None:
    (tmp_path / "evil.py").write_text(EVIL)
    path = altered(run, tmp_path / "run", ("strategy",), {"_target_": "evil.Evil"})
    words = doors(path, cache_dir, tmp_path)[door]
    result = warm.run(words, tmp_path)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 2 and "evil.Evil" in line and "trust=[evil]" in line and "PYTHONPATH" in line
    assert not (tmp_path / "ran").exists()
    allowed = warm.run([*words, "trust=[evil]"], tmp_path, {"PYTHONPATH": str(tmp_path)})
    assert allowed.returncode == 0, allowed.stderr
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("door", ["sample", "evaluate", "ckpt_path"])
def test_no_command_writes_where_a_checkpoint_says(
    run: Path, cache_dir: Path, tmp_path: Path, door: str
) -> None:
    leak = tmp_path / "leak"
    path = altered(run, tmp_path / "run", ("cache_dir",), str(leak))
    assert warm.run(doors(path, cache_dir, tmp_path)[door], tmp_path).returncode == 0
    assert not leak.exists()
    if door == "evaluate":  # by its own default
        words = [word for word in doors(path, cache_dir, tmp_path)[door] if not word.startswith("cache_dir")]
        assert warm.run(words, tmp_path).returncode == 0
        assert (tmp_path / "cache").is_dir() and not leak.exists()


def test_a_folder_that_only_a_checkpoint_names_is_not_downloaded_into(
    run: Path, cache_dir: Path, tmp_path: Path
) -> None:
    cfg = tiny.compose(cache_dir, "strategy=finetune", "epochs=1")
    node = yaml.safe_load((config.CONF / "data" / "mnist.yaml").read_text())["source"]
    node |= {"root": str(tmp_path / "leak"), "download": True, "channels": 1}
    path = altered(run, tmp_path / "one", ("data", "source"), node)
    path = altered(path.parent.parent, tmp_path / "run", ("data", "num_classes"), None)
    assert cfg.data.download
    for door in ("evaluate", "ckpt_path"):
        result = warm.run(doors(path, cache_dir, tmp_path)[door], tmp_path)
        assert result.returncode == 2 and "download=false" in result.stderr, result.stderr
    assert not (tmp_path / "leak").exists()


def test_the_strategy_of_the_readme_goes_through_every_door(cache_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.ROOT / "examples" / "strategy", tmp_path / "plugins")
    train = [str(tiny.ROOT / "train.py"), *tiny.SETTINGS, "epochs=1", f"cache_dir={cache_dir}"]
    path = {"PYTHONPATH": "plugins"}
    own = ["--config-dir", "plugins", "strategy=stay_close"]
    assert warm.run([*train, *own, "hydra.run.dir=mine"], tmp_path, path).returncode == 0
    words = doors(tmp_path / "mine" / "checkpoints" / "last.ckpt", cache_dir, tmp_path)
    for door in ("sample", "evaluate", "ckpt_path"):
        refused = warm.run(words[door], tmp_path)
        assert refused.returncode == 2 and "trust=[stay_close]" in refused.stderr, refused.stderr
        without = warm.run([*words[door], "trust=[stay_close]"], tmp_path)
        assert without.returncode == 2 and "PYTHONPATH" in without.stderr, without.stderr
        done = warm.run([*words[door], "trust=[stay_close]", *(["overwrite=true"] * (door == "sample"))],
                        tmp_path, path)  # fmt: skip
        assert done.returncode == 0, done.stderr
        flags = ["--config-dir", "plugins", *(["overwrite=true"] * (door == "sample"))]
        done = warm.run([*words[door], *flags], tmp_path, path)
        assert done.returncode == 0, done.stderr


def test_the_files_of_conf_name_classes_only() -> None:
    trusted = trust.of_command({}, [config.CONF])
    assert {
        "strategy",
        "objective",
        "data.source",
        "network.generator",
        "callbacks.*",
        "logger.*",
        "trainer",
    } <= set(trusted.targets)
    for slot, names in trusted.targets.items():
        for name in names:
            assert isinstance(slots.locate(slot, name), type), name
    assert not [path for path in config.CONF.rglob("*.yaml") if "_partial_" in path.read_text()]
