"""A run goes on with a later version whose classes have further arguments."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.checkpoints import file as checkpoint
from mergan.checkpoints import trust
from mergan.checkpoints.contents import KEY
from mergan.config.additions import changes
from mergan.run import experiment, resume
from mergan.system.errors import ConfigError
from mergan.system.files import save_atomically

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
    found = changes({"learner": old, "lr": 1}, {"learner": new, "lr": 1})
    assert found == [f"learner.{key}" for key in changed]


def test_classes_that_the_run_names_are_not_imported() -> None:
    """They come from a file."""
    assert changes({"a": {"_target_": "no.such"}}, {"a": {"_target_": CVAE, "noise": 1.0}}) == [
        "a._target_",
        "a.noise",
    ]


def test_the_command_of_an_older_run_goes_on_with_it(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    experiment.run(compose("strategy=finetune"), tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    shutil.copy(tmp_path / "checkpoints" / "task_00.ckpt", last)
    content = checkpoint.read(last)
    del content[KEY]["config"]["learner"]["shared_rate"]
    save_atomically(content, last)

    def going_on(*overrides: str) -> resume.Continuation:
        cfg = compose("strategy=finetune", f"ckpt_path={last}", *overrides)
        own = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
        return resume.restore(
            resume.Command(
                cfg, ["debug=smoke"], ["debug"], [config.CONF], trust.of_command(own, [config.CONF])
            )
        )

    assert going_on().changed == ()
    with pytest.raises(ConfigError, match=r"^learner\.shared_rate: not as in the run"):
        going_on("learner.shared_rate=0.5")
