"""The recipes of docs/extending.md: one Python file and one YAML file each, run as they are printed there."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest
import tiny
import warm

EXAMPLES = tiny.ROOT / "examples"
KINDS = {  # what each one shows in the folder of its run
    "strategy": "metrics.json",
    "network": "metrics.json",
    "learner": "metrics.json",
    "metric": "two_sample_matrix.csv",
    "feature_space": "diversity_brightness_matrix.csv",
    "data": "metrics.json",
    "scenario": "metrics.json",
}
COMMAND = re.compile(r"^PYTHONPATH=(\S+) python (train\.py .*)$", re.MULTILINE)


def commands() -> dict[str, list[str]]:
    """The command of each recipe, by the folder of its example."""
    text = (tiny.ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return {Path(folder).name: shlex.split(words) for folder, words in COMMAND.findall(text)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> dict[str, Path]:
    """The finished run of every recipe."""
    found = {}
    for kind, words in commands().items():
        folder = tmp_path_factory.mktemp(kind)
        own = [f"hydra.run.dir={folder / 'run'}", f"cache_dir={cache_dir}"]
        words = [
            str(tiny.ROOT / word) if word.startswith(("train.py", "examples/")) else word for word in words
        ]
        short = [
            "evaluation.samples_per_class=4",
            "evaluation.reverse_per_class=4",
            "evaluation.classifier_steps=2",
        ]
        environment = {"PYTHONPATH": os.pathsep.join([str(EXAMPLES / kind), str(tiny.ROOT)])}
        result = warm.run([*words, *own, *short], folder, environment)
        assert result.returncode == 0, result.stderr
        found[kind] = folder / "run"
    return found


def test_every_recipe_has_its_command() -> None:
    assert set(commands()) == set(KINDS) == {path.name for path in EXAMPLES.iterdir() if path.is_dir()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_one_python_file_and_one_yaml(kind: str) -> None:
    files = [path.suffix for path in (EXAMPLES / kind).rglob("*.*") if "__pycache__" not in path.parts]
    assert sorted(files) == [".py", ".yaml"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_runs(runs: dict[str, Path], kind: str) -> None:
    assert (runs[kind] / KINDS[kind]).is_file()
    assert "accuracy" in json.loads((runs[kind] / "metrics.json").read_text(encoding="utf-8"))


def test_the_terms_of_examples_are_logged(runs: dict[str, Path]) -> None:
    for kind, name in (("strategy", "g/stay_close"), ("learner", "g/discrepancy")):
        assert any(name in row for row in tiny.csv_rows(runs[kind])), name


def test_the_sliding_window_shares_classes(runs: dict[str, Path]) -> None:
    rows = tiny.csv_rows(runs["scenario"], "accuracy_matrix.csv")
    assert [len(row) - 1 for row in rows] == [3, 4, 5]  # smoke runs end after three tasks


def test_a_checkpoint_of_an_example_wants_its_folder_or_trust(runs: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = f"checkpoint={runs['strategy'] / 'checkpoints' / 'last.ckpt'}"
    plugin = {"PYTHONPATH": os.pathsep.join([str(EXAMPLES / "strategy"), str(tiny.ROOT)])}
    sample = ["-m", "mergan.sample", checkpoint, "per_class=1"]
    refused = warm.run([*sample, "out=a.npz"], tmp_path, plugin)
    assert refused.returncode == 2 and "trust=[stay_close]" in refused.stderr
    assert warm.run([*sample, "out=b.npz", "trust=[stay_close]"], tmp_path, plugin).returncode == 0
    named = ["--config-dir", str(EXAMPLES / "strategy")]
    assert warm.run([*sample, *named, "out=c.npz"], tmp_path, plugin).returncode == 0
