"""In which settings a run and a command differ."""

from __future__ import annotations

import pytest

from mergan.config import differences

ALIGNMENT = "mergan.strategies.replay_alignment.ReplayAlignment"
CVAE = "mergan.learners.cvae.CVAE"  # whose base class has the argument


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({"_target_": CVAE}, {"_target_": CVAE, "shared_rate": 1.0}, []),
        ({"_target_": CVAE}, {"_target_": CVAE, "shared_rate": 0.5}, ["shared_rate"]),
        ({"_target_": CVAE, "shared_rate": 0.5}, {"_target_": CVAE}, ["shared_rate"]),
        ({"_target_": CVAE, "shared_rate": 1.0}, {"_target_": CVAE, "shared_rate": 1.0}, []),
        ({"_target_": ALIGNMENT}, {"_target_": CVAE, "shared_rate": 1.0}, ["_target_", "shared_rate"]),
        ({}, {"_target_": CVAE, "shared_rate": 1.0}, ["_target_", "shared_rate"]),
        ({"_target_": ALIGNMENT}, {"_target_": ALIGNMENT, "edges": 0.0}, ["edges"]),  # has no default
    ],
)
def test_an_argument_that_a_run_does_not_know_has_its_default(
    old: dict[str, object], new: dict[str, object], changed: list[str]
) -> None:
    found = differences({"learner": old, "lr": 1}, {"learner": new, "lr": 1})
    assert found == [f"learner.{key}" for key in changed]


def test_classes_that_the_run_names_are_not_imported() -> None:
    """They come from a file."""
    assert differences({"a": {"_target_": "no.such"}}, {"a": {"_target_": CVAE, "noise": 1.0}}) == [
        "a._target_",
        "a.noise",
    ]
