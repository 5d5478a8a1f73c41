"""The commands from outside: the list of doors, --help of each, old and misspelt names."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import warm
from omegaconf import OmegaConf

from mergan import __main__, config
from mergan.cli import help as helps
from mergan.cli import keys, settings, words
from mergan.cli.door import Door
from mergan.config import comments
from mergan.system.errors import ConfigError

DOORS: dict[str, Door] = {name: importlib.import_module(f"mergan.{name}").DOOR for name in __main__.DOORS}


# ---------------------------------------------------------------- the list of doors


def test_every_door_is_listed_with_what_it_does(tmp_path: Path) -> None:
    files = {path.stem for path in (tiny.ROOT / "mergan").glob("*.py")} - {"__init__", "__main__"}
    assert set(DOORS) == files and all(door.name == name for name, door in DOORS.items())
    for more in ([], ["--help"], ["-h"]):
        result = warm.run(["-m", "mergan", *more], tmp_path)
        assert result.returncode == 0 and result.stderr == ""
        for name, door in DOORS.items():
            assert re.search(rf"^  {name} +{re.escape(door.about.splitlines()[0])}$", result.stdout, re.M)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("trian", "trian: there is no such command; did you mean train? mergan --help lists them"),
        ("sampel", "sampel: there is no such command; did you mean sample? mergan --help lists them"),
        ("strategy=ewc", "strategy=ewc: there is no such command; mergan --help lists them"),
        ("--foo", "--foo: there is no such command; mergan --help lists them"),
        ("", "'': there is no such command; mergan --help lists them"),
        ("\x1b[31m", "\\x1b[31m: there is no such command; mergan --help lists them"),
    ],
)
def test_an_unknown_door_is_refused_in_one_line(
    typed: str, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["mergan"])
    assert __main__.main([typed, "epochs=1"]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_doors_are_thin() -> None:
    for name in DOORS:
        source = (tiny.ROOT / "mergan" / f"{name}.py").read_text(encoding="utf-8")
        assert len(source.splitlines()) < 100
        assert ast.get_docstring(ast.parse(source)) == DOORS[name].about.strip()


# ---------------------------------------------------------------- --help


def shown_keys(text: str) -> dict[str, str]:
    """The keys that a help shows, with their defaults."""
    part = text[text.index("Keys and their defaults:") : text.index("Examples:")]
    return dict(re.findall(r"^  ([\w.]+)=(.*?)(?:  .*)?$", part, re.M))


@pytest.mark.parametrize("name", DOORS)
def test_help_shows_the_keys_of_the_door_with_meaning_and_default(name: str) -> None:
    text, door = helps.text(DOORS[name]), DOORS[name]
    assert text.startswith("usage: ") and door.about.strip() in text
    found = shown_keys(text)
    file = config.CONF / f"{name}.yaml"
    own = {
        key.name
        for key in comments.keys(file)
        if key.default and "." not in key.name.removeprefix(f"{name}.")
    }
    if name == "train":
        assert list(found) == list(door.keys) and {"epochs", "lr", "seed", "hydra.run.dir"} <= set(found)
        assert "--cfg job" in text
    else:
        assert own <= set(found)
        assert all(key in own or (name == "evaluate" and key.startswith("evaluation.")) for key in found)
    listed = [comments.documented(key, name) for key in found]
    assert all(key.meaning for key in listed), [key.name for key in listed if not key.meaning]
    for group in comments.groups(name) if door.composed else []:
        assert f"  {group.key.name}={group.key.default}" in text and group.key.meaning
        assert all(choice in text for choice in group.choices)
    assert all(f" {example}\n" in f"{text}\n" for example in door.examples) and door.examples
    too_long = [line for line in text.splitlines() if len(line) > 110]
    assert not [line for line in too_long if not line.startswith(("usage: ", "  python", "  mergan"))]


def test_the_defaults_that_are_shown_are_those_of_the_configuration() -> None:
    found = shown_keys(helps.text(DOORS["train"]))
    assert set(found) == set(DOORS["train"].keys)
    texts = {key: f"'{text}'" if "${" in text else text for key, text in found.items()}
    composed = config.load_configuration("train", [], hydra=True)
    words = [f"{key}={text}" for key, text in texts.items()]
    again = config.load_configuration("train", words, hydra=True)
    for cfg in (composed, again):
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra = {key: cfg.hydra._get_node(key) for key in ("run", "sweep")}
    assert OmegaConf.to_container(again) == OmegaConf.to_container(composed)


@pytest.mark.parametrize("start", [["-m", "mergan", "{}"], ["-m", "mergan.{}"]])
@pytest.mark.parametrize("name", DOORS)
def test_help_names_the_command_that_was_typed_and_imports_no_torch(
    name: str, start: list[str], tmp_path: Path
) -> None:
    typed = [word.format(name) for word in start]
    code = (
        "import runpy, sys\n"
        f"sys.argv = {[*typed[1:], '--help']!r}\n"
        "try:\n"
        f"    runpy.run_module({typed[1]!r}, run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    print('torch' in sys.modules)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: python {' '.join(typed)} ")
    assert result.stdout.endswith("\nFalse\n") and not any(tmp_path.iterdir())


def test_help_wins_and_lists_the_choices_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "stay_close.yaml").write_text("_target_: a.B\n")
    result = warm.run([str(tiny.ROOT / "train.py"), "lr==3", "--config-dir", "conf", "--help"], tmp_path)
    assert result.returncode == 0 and "stay_close" in result.stdout
    assert result.stdout.startswith(f"usage: python {tiny.ROOT / 'train.py'} ")


def test_the_whole_configuration_can_still_be_seen(tmp_path: Path) -> None:
    result = warm.run(["-m", "mergan", "train", "--cfg", "job", "strategy=ewc"], tmp_path)
    assert result.returncode == 0 and "_target_: mergan.strategies.ewc.EWC" in result.stdout


def test_comments_are_read_with_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "# the file\ndefaults: [a]\nhydra: {b: 1}\n"
        "a: 1  # one\nb: '# none'\nc: \"x # y\"   #   three # and more\nd:  # below\n  e: [1,\n    2]  # no\n"
        "  f: {g: 2}  # inline\nh:\n"
    )
    assert [(key.name, key.default, key.meaning) for key in comments.keys(path, "p.")] == [
        ("p.a", "1", "one"), ("p.b", "'# none'", ""), ("p.c", '"x # y"', "three # and more"),
        ("p.d", "", "below"), ("p.d.e", "[1, 2]", ""), ("p.d.f", "", "inline"), ("p.d.f.g", "2", ""),
        ("p.h", "", ""),
    ]  # fmt: skip


# ---------------------------------------------------------------- old and misspelt names


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("acgan.ema=0.9", "learner.ema=0.9"),
        ("+acgan.ema=0.9", "+learner.ema=0.9"),
        ("++acgan.ema=0.9", "++learner.ema=0.9"),
        ("~acgan.ema", "~learner.ema"),
        ("~acgan", "~learner"),
        ("acgan=acgan", "learner=acgan"),
        ("acgan.betas=[0.0,", "learner.betas=[0.0,"),
        ("acgan@x=acgan", "learner@x=acgan"),
    ],
)
def test_the_old_name_of_the_learner_is_refused_with_the_new_one(word: str, instead: str) -> None:
    with pytest.raises(ConfigError) as caught:
        words.prepare(["epochs=1", word, "-m"])
    assert str(caught.value) == f"{word}: acgan.* is called learner.* now; write {instead}"


def test_every_door_refuses_the_old_name(tmp_path: Path) -> None:
    for start in ([str(tiny.ROOT / "train.py")], ["-m", "mergan", "reproduce"], ["-m", "mergan.evaluate"]):
        result = warm.run([*start, "acgan.ema=0.9"], tmp_path)
        line = "error: acgan.ema=0.9: acgan.* is called learner.* now; write learner.ema=0.9\n"
        assert (result.returncode, result.stderr) == (2, line)
    assert words.prepare(["acganx=1", "learner=acgan"]) == ["acganx=1", "learner=acgan"]


@pytest.mark.parametrize(
    ("key", "overrides", "near"),
    [
        ("batchsize", [], "batch_size"),
        ("ema", [], "learner.ema"),
        ("strategy.bufer_per_class", [], "strategy.buffer_per_class"),
        ("strategy.wieght", ["strategy=ewc"], "strategy.weight"),
        ("strategy.wieght", ["strategy=finetune"], None),
        ("strategy.wieght", ["strategy=nope"], None),
        ("nonsense", [], None),
        ("x" * 10_000, [], None),
    ],
)
def test_a_misspelt_key_is_answered_with_the_one_that_was_meant(
    key: str, overrides: list[str], near: str | None
) -> None:
    line = keys.unknown(key, "train", overrides)
    assert line.startswith("unknown key ") and len(line) < 200
    assert line.endswith(f"; did you mean {near}?") if near else "did you mean" not in line


# ---------------------------------------------------------------- doors that read their words themselves


def test_settings_are_read_by_the_types_of_their_keys(tmp_path: Path) -> None:
    file = config.CONF / "reproduce.yaml"
    own, others = settings.read(config.ReproduceConfig, file, ["jobs=3", "lr=1", "only=ewc", "~x"])
    assert (own.jobs, own.only, own.out, others) == (3, "ewc", "runs/reproduce", ["lr=1", "~x"])
    own, _ = settings.read(config.ReproduceConfig, file, ["jobs=null", "out=a b=c"])
    assert (own.jobs, own.out, own.table) == (None, "a b=c", None)
    for typed, part in {
        "jobs=two": "jobs=two: use a whole number",
        "jobs=1.5": "jobs=1.5",
        "jobs=": "jobs=",
        "only": "KEY=VALUE".replace("KEY", "only"),
        "jbos=2": "did you mean jobs?",
        "rows=3": None,
    }.items():
        if part is None:  # no key of the command line
            assert settings.read(config.ReproduceConfig, file, [typed])[1] == [typed]
            continue
        with pytest.raises(ConfigError) as caught:
            settings.read(config.ReproduceConfig, file, [typed])
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match="use true or false"):
        settings.read(config.ReportConfig, config.CONF / "report.yaml", ["overwrite=1"])
    with pytest.raises(ConfigError, match="set twice"):
        settings.read(config.ReportConfig, config.CONF / "report.yaml", ["out=a", "out=a"])


PLUGIN = "from mergan.strategies import Strategy\n\n\nclass Own(Strategy):\n    pass\n"


def test_a_strategy_of_ones_own_goes_through_the_command(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "plugins" / "strategy").mkdir(parents=True)
    (tmp_path / "plugins" / "own_strategy.py").write_text(PLUGIN)
    (tmp_path / "plugins" / "strategy" / "own.yaml").write_text("_target_: own_strategy.Own\n")
    typed = [*tiny.SETTINGS, "epochs=1", "strategy=own", f"cache_dir={cache_dir}", "hydra.run.dir=run"]
    path = {"PYTHONPATH": "plugins"}
    done = warm.run(["-m", "mergan", "train", "--config-dir", "plugins", *typed], tmp_path, path)
    assert done.returncode == 0, done.stderr
    last = "checkpoint=run/checkpoints/last.ckpt"
    sampled = warm.run(
        ["-m", "mergan", "sample", last, "trust=[own_strategy]", "per_class=1"], tmp_path, path
    )
    assert sampled.returncode == 0, sampled.stderr
