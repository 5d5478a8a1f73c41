"""The search: what is searched, whose a trial is, what comes out, what is refused."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import optuna
import pytest
import tiny
import warm
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from mergan.callbacks import pruning
from mergan.search import main
from mergan.system import interrupts
from mergan.system.errors import ConfigError, MerganError
from mergan.tuning import results, running, trial
from mergan.tuning.plan import Plan, plan
from mergan.tuning.running import Search
from mergan.tuning.sampling import BelowMedian
from mergan.tuning.study import SharedStudy

SPACE = ["lr=tag(log,interval(1e-4,1e-2))", "batch_size=choice(4,8)"]
PICTURES = {"history.png", "parallel_coordinates.png", "importances.png"}
Planned = Callable[..., Plan]


class Here:
    """Runs trials in this process, one after another."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


def words(cache_dir: Path, folder: Path, *more: str) -> list[str]:
    """A search among tiny runs for the highest diversity, which no two settings share."""
    own = ["strategy=finetune", "logger.tensorboard=null", f"cache_dir={cache_dir}"]
    return [*tiny.SETTINGS, *own, "search.metric=diversity", f"search.dir={folder}", *more]


@pytest.fixture
def planned(cache_dir: Path, tmp_path: Path) -> Planned:
    """planned("search.trials=3"): the plan of such a search."""

    def with_words(*more: str) -> Plan:
        given = words(cache_dir, tmp_path / "search", *more)
        searched = any("=choice" in word or "interval" in word for word in more)
        keys = {word.partition("=")[0] for word in more} | ({"batch_size"} if not searched else set())
        own = [word for word in given if word.partition("=")[0] not in keys or word in more]
        return plan([*own, *([] if searched else SPACE)])

    return with_words


def rows(folder: Path) -> list[dict[str, str]]:
    return tiny.csv_rows(folder, "trials.csv")


# ---------------------------------------------------------------- what is searched


@pytest.mark.parametrize(
    ("word", "distribution"),
    [
        ("lr=interval(1e-4,1e-2)", FloatDistribution(1e-4, 1e-2)),
        ("lr=interval(1,4)", FloatDistribution(1, 4)),
        ("lr=tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("lr=range(1e-3,4e-3,1e-3)", FloatDistribution(1e-3, 3e-3, step=1e-3)),
        ("embedding_dim=interval(4,16)", IntDistribution(4, 16)),  # a key of whole numbers
        ("objective.critic_steps=interval(1,3)", IntDistribution(1, 3)),  # by its constructor's annotation
        ("epochs=int(interval(1,3))", IntDistribution(1, 3)),
        ("embedding_dim=tag(log,int(interval(4,16)))", IntDistribution(4, 16, log=True)),
        ("embedding_dim=range(8,2,-2)", IntDistribution(4, 8, step=2)),
        ("embedding_dim=sort(8,4)", CategoricalDistribution([4, 8])),
        ("strategy=glob([m*,e*],exclude=mas)", CategoricalDistribution(["ewc", "experience_replay"])),
        ("epochs=choice([1,2],3)", CategoricalDistribution(["[1,2]", 3])),
        ("data.balance=true,false", CategoricalDistribution([True, False])),
    ],
)
def test_the_grammar_of_sweeps_says_what_is_searched(
    word: str, distribution: optuna.distributions.BaseDistribution, planned: Planned
) -> None:
    key = word.partition("=")[0]
    if "interval" not in word and "choice" not in word:
        key = ""
    (found,) = [part for part in planned(word, *([] if key else SPACE[:1])).dimensions if part.word == word]
    assert found.distribution == distribution
    assert found.name == word.partition("=")[0]
