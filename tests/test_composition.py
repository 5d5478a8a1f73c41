"""Composing many times in one process gives what composing once gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.errors import MissingConfigException

from mergan import config
from mergan.config import composition


@pytest.mark.parametrize(
    "words",
    [[], ["strategy=ewc", "strategy.decay=0.5"], ["experiment=colour_joint"], ["trainer=gpu", "debug=smoke"]],
    ids=" ".join,
)
def test_files_that_are_read_once_compose_like_files_that_are_read_again(words: list[str]) -> None:
    for seed in (1, 2, 3):
        own = [*words, f"seed={seed}", "evaluation.metrics.kid=null"]
        assert config.compose(*own) == config.load_configuration("train", own)


def test_a_change_of_one_result_is_not_in_the_next() -> None:
    config.compose("strategy=ewc").strategy.weight = -7
    composition.node_of("strategy", "strategy=ewc").weight = -7
    assert config.compose("strategy=ewc").strategy.weight > 0
    assert config.compose("strategy=ewc", "seed=5").strategy.weight > 0


def test_another_folder_is_searched_only_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "elsewhere.yaml").write_text("word: found\n")
    (tmp_path / "strategy" / "finetune.yaml").write_text("word: not that of conf/\n")
    config.compose("strategy=finetune")
    there = f"hydra.searchpath=[file://{tmp_path}]"
    assert config.compose(there, "strategy=elsewhere").strategy.word == "found"
    with pytest.raises(MissingConfigException, match="elsewhere"):
        config.compose("strategy=elsewhere")
    own = [there, "strategy=finetune"]
    assert config.compose(*own) == config.load_configuration("train", own)
