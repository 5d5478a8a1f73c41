"""Bad command lines of every kind: status 2 and one line that names the culprit and the remedy."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import warm
from omegaconf import OmegaConf

from mergan import config
from mergan.cli import messages, words
from mergan.config import trainer_arguments
from mergan.system.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("lr", ["'lr'", "KEY=VALUE"]),
        ("", ["''", "KEY=VALUE"]),
        ("=3", ["names no key"]),
        ("a b=3", ["'a b' is no name"]),
        ("lr==3", ["single =", "lr=3"]),
        ("lr=${", ["lr=${", "brackets and quotes"]),
        ("epochs=[1,2", ["epochs=[1,2", "brackets and quotes"]),
        ("data.root='abc", ["data.root='abc", "brackets and quotes"]),
        ("data.root=~/images", ["data.root=~/images", "\"data.root='~/images'\""]),
        ("data.root=/日本/a", ["\"data.root='/日本/a'\""]),
        ("lr=range(1,)", ["lr=range(1,)"]),
        ("lr=" + "[" * 400, ["lr=[[["]),
        ("lr=1,2", ["lr=1,2", "-m", "lr=[...]"]),
        ("lr=choice(1,2)", ["-m"]),
        ("hydra.run.dir=", ["name a folder"]),
        ("hydra.sweep.dir=''", ["name a folder"]),
        ("strategy=null", ["strategy=null", "ewc"]),
        ("learner=null", ["learner=null", "acgan"]),
        ("logger=null", ["logger=null", "default"]),
        ("network=3", ["network=3", "dcgan"]),
        ("strategy=[ewc,mas]", ["choose one of"]),
        ("--foo", ["unrecognized arguments: --foo"]),
        ("-c", ["expected one argument"]),
        ("--experimental-rerun=x", ["runs code from a file"]),
    ],
)
def test_words_that_hydra_cannot_read(word: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        words.prepare(["epochs=1", word])
    line = str(caught.value)
    assert "\n" not in line and len(line) < 500 and "Exception" not in line
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("typed", "ready"),
    [
        (["lr=1,2", "-m"], ["-m", "lr=1,2"]),
        (["lr=1,2", "-m", "epochs=3", "-cd", "x"], ["-m", "-cd", "x", "lr=1,2", "epochs=3"]),
        (["lr=1", "lr=1", "--cfg", "job"], ["--cfg", "job", "lr=1", "lr=1"]),
        (["a=b", "--config-name", "a=b"], ["--config-name", "a=b", "a=b"]),
        (["~strategy.weight", "+x=1", "lr_d=${lr}", "'a.b=[1,2]'".strip("'")],) * 2,
        (["hydra.mode=MULTIRUN", "lr=1,2"],) * 2,
    ],
)
def test_flags_may_stand_anywhere(typed: list[str], ready: list[str]) -> None:
    assert words.prepare(typed) == ready


@pytest.mark.parametrize("value", ["~/a b", "it's", 'a"b', "$HOME", "a\\b", "{x}", "[1", "ä!"])
def test_the_word_that_a_message_proposes_sets_the_value(value: str) -> None:
    (word,) = shlex.split(words.literal("data.root", value))
    words.prepare([word])
    assert words._read(word, words.OverridesParser.create()).value() == value


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("+callbacks.x=5", ["callbacks.x=5", "Callback"]),
        ("callbacks.samples=5", ["callbacks.samples=5", "Callback"]),
        ("+logger.x=abc", ["logger.x=abc", "Logger"]),
        ("network.generator=null", ["network.generator=null", "Module"]),
        ("evaluation.metrics.kid=3", ["evaluation.metrics.kid=3", "Metric"]),
        ("objective._target_=builtins.dict", ["objective._target_=builtins.dict", "Objective"]),
        ("data.source._target_=os.system", ["data.source._target_=os.system", "Source"]),
        ("strategy._target_=nowhere.Strategy", ["no module 'nowhere'", "PYTHONPATH"]),
        ("~strategy._target_", ["strategy._target_", "missing"]),
        ("lr=${lr}", ["lr: ", "Recursive"]),
        ("lr=${nope}", ["lr: ", "nope"]),
        ("lr=${oc.env:MERGAN_NOPE}", ["lr: ", "MERGAN_NOPE"]),
        ("network.generator.width=${nope:1}", ["network.generator.width: ", "nope"]),
        ("epochs=100000000000000000000", ["epochs=1", "below 2^31"]),
        ("epochs=2000000000", ["epochs=2000000000", "steps"]),
        ("epochs=[1,3000000000]", ["epochs=", "below 2^31"]),
        ("epochs=true", ["epochs=True"]),
        ("objective.critic_steps=1000000000000", ["objective.critic_steps=1", "discriminator steps"]),
        ("batch_size=99999999999999", ["batch_size=99999999999999", "below 2^31"]),
        ("data.num_classes=100000000", ["data.num_classes=100000000", "too many"]),
        ("cache_dir=/dev/null/x", ["cache_dir=/dev/null/x", "/dev/null is not a folder"]),
        ("cache_dir=''", ["cache_dir", "name a folder"]),
        (f"cache_dir={'a' * 300}", ["cache_dir=", "too long"]),
        (f"ckpt_path={'a' * 300}", ["ckpt_path=", "no such file"]),
        ("trainer.devices=1000", ["trainer.devices=1000", "processors"]),
        ("trainer.devices=0", ["trainer.devices=0", "1 or more"]),
        ("trainer.devices=abc", ["trainer.devices=abc", "number"]),
        ("trainer.devices=[0,1]", ["trainer.devices=[0, 1]", "have no numbers"]),
        ("trainer.devices=2", ["trainer.devices=2"]),
        ('trainer.devices="0,1"', ["trainer.devices="]),
        ('trainer.devices=" "', ["trainer.devices= ", "use a number"]),
        ("+trainer.num_nodes=0", ["trainer.num_nodes=0"]),
        ("+trainer.num_nodes=2", ["trainer.num_nodes=2", "one process", "leave it out"]),
        ("+trainer.strategy=ddp_spawn", ["trainer.strategy=ddp_spawn", "one process", "leave it out"]),
        ("trainer.precision=7", ["trainer.precision=7", "32-true"]),
    ],
)
def test_values_that_no_run_can_have(cache_dir: Path, override: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny.compose(cache_dir, override)
    for part in parts:
        assert part in messages.one_line(caught.value)


@pytest.mark.parametrize(
    ("devices", "refused"),
    [("0,", False), ([1], False), ("1", False), (-1, False), ("0,1", True), ([0, 1], True), (2, True)],
)
def test_a_run_uses_one_gpu(devices: object, refused: bool) -> None:
    trainer = OmegaConf.create({"accelerator": "gpu", "devices": devices})
    if not refused:
        trainer_arguments.check(trainer)
        return
    with pytest.raises(
        ConfigError, match=r"^trainer\.devices=.*: a run is one process on one device, unless"
    ):
        trainer_arguments.check(trainer)


@pytest.mark.parametrize("name", trainer_arguments.OWNED)
def test_arguments_of_the_trainer_that_are_the_frameworks_own(cache_dir: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^trainer\.{name}=3: \w"):
        tiny.compose(cache_dir, f"+trainer.{name}=3")


def test_harmless_arguments_of_the_trainer_pass(cache_dir: Path) -> None:
    tiny.compose(
        cache_dir, "+trainer.deterministic=true", "+trainer.benchmark=false", "+trainer.max_time=null"
    )
    tiny.compose(cache_dir, "+trainer.detect_anomaly=true", "+trainer.profiler=simple", "lr_d=${lr}")


def test_every_part_is_checked_for_missing_interpolations_first() -> None:
    with pytest.raises(ConfigError, match=r"^a\.b: "):
        config.check_interpolations(OmegaConf.create({"a": {"b": "${c}"}}))


def refused(words: list[str], folder: Path, **environment: str) -> str:
    """The line that a command ends with; it leaves nothing behind."""
    folder.mkdir(exist_ok=True)
    result = warm.run(words, folder, environment)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


TRAIN = str(tiny.ROOT / "train.py")


@pytest.mark.parametrize("value", ["0", "", "no"])
@pytest.mark.parametrize("override", ["batchsize=3", "strategy=nope", "epochs=0"])
def test_hydras_variable_for_tracebacks_changes_nothing(tmp_path: Path, value: str, override: str) -> None:
    line = refused([TRAIN, override, f"hydra.run.dir={tmp_path}/run"], tmp_path, HYDRA_FULL_ERROR=value)
    assert override.split("=")[0] in line


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["hydra.run.dir=/dev/full/x"], ["hydra.run.dir=/dev/full/x", "Not a directory"]),
        (["hydra.run.dir=/proc/x"], ["hydra.run.dir=/proc/x", "cannot be made"]),
        ([f"hydra.run.dir={'a' * 300}"], ["hydra.run.dir=aaa", "too long"]),
        (["hydra.run.dir=${nope}"], ["hydra.run.dir", "nope"]),
        (["lr=1,2", "-m", "hydra.sweep.dir=/dev/null/x"], ["hydra.sweep.dir=/dev/null/x"]),
        (["--config-dir", "nowhere"], ["nowhere"]),
        (["--config-name", "nope"], ["nope"]),
        (["--resolve"], ["--resolve"]),
    ],
)
def test_run_folders_and_flags(tmp_path: Path, words: list[str], parts: list[str]) -> None:
    line = refused([TRAIN, *words], tmp_path / "here")
    for part in parts:
        assert part in line
    assert not any((tmp_path / "here").iterdir())


@pytest.mark.parametrize(
    "flags", [["--help"], ["--hydra-help"], ["--cfg", "job"], ["--info"], ["epochs=2", "--help"]]
)
def test_help_and_information_end_well(tmp_path: Path, flags: list[str]) -> None:
    result = warm.run([TRAIN, *flags], tmp_path)
    assert result.returncode == 0 and result.stderr == "" and result.stdout
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("door", ["mergan.sample", "mergan.evaluate"])
@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "checkpoint: is missing"),
        (["checkpoint=/tmp"], "/tmp: holds no checkpoint"),
        ([f"checkpoint={'a' * 300}"], "no such file"),
        (["checkpoint=${nope}"], "checkpoint: "),
        (["checkpoint=x", "foo=1"], "unknown key foo"),
        (["checkpoint=~/x"], "\"checkpoint='~/x'\""),
    ],
)
def test_the_small_commands(tmp_path: Path, door: str, words: list[str], part: str) -> None:
    assert part in refused(["-m", door, *words], tmp_path)


def test_a_setting_of_lightnings_environment_is_named(tmp_path: Path) -> None:
    line = refused([TRAIN, "epochs=0"], tmp_path, PL_TRAINER_MAX_STEPS="3")
    assert "PL_TRAINER_MAX_STEPS=3" in line and "trainer.max_steps" in line


def test_warnings_as_errors_and_a_plotting_back_end_change_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error", "MPLBACKEND": "abc", "PYTHONPATH": str(tiny.ROOT)}
    result = subprocess.run(
        [sys.executable, TRAIN, "epochs=0"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1, result.stderr


def test_a_working_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"rmdir ../gone; exec {sys.executable} {TRAIN} epochs=0"
    result = subprocess.run(["sh", "-c", command], cwd=gone, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "working directory" in line


def test_errors_of_the_system_and_of_memory_are_one_line() -> None:
    assert messages.one_line(PermissionError(13, "Permission denied", "x/y")) == "x/y: Permission denied"
    assert messages.status(PermissionError(13, "Permission denied", "x/y")) == messages.REFUSED
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")):
        assert messages.status(error) == messages.REFUSED and "batch_size" in messages.one_line(error)
    assert messages.status(RuntimeError("a bug")) == messages.UNEXPECTED
