"""What a stream starts from: fresh weights, trained networks, or the checkpoint of a run to resume."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mergan import config
from mergan.checkpoints import file as checkpoint
from mergan.checkpoints.contents import EVALUATION, KEY
from mergan.checkpoints.fitting import restore
from mergan.checkpoints.trust import folders_of_this_command, of_command
from mergan.config import TrainConfig
from mergan.data.pool import ImagePool
from mergan.learners import ContinualLearner
from mergan.output import facts
from mergan.run.resume import Continuation
from mergan.run.transfer import labels_here, transfer
from mergan.scenarios.base import Scenario
from mergan.system.errors import CheckpointError
from mergan.system.text import shown

log = logging.getLogger(__name__)


class Start:
    """Fresh weights.

    Attributes:
        known: the classes that the networks know before the first task.
        step: the step from which a run resumes, -1 for a new one.
        epochs: how many epochs a resumed run has completed.
    """

    known: tuple[int, ...] = ()
    step: int = -1
    epochs: int = 0

    def load(self, learner: ContinualLearner) -> None:
        """Give a freshly built learner the weights that the run starts from.

        Raises:
            CheckpointError: the weights do not fit its networks.
        """

    def check(self, scenario: Scenario) -> None:
        """Refuse a stream that cannot start from here.

        Raises:
            CheckpointError: the message says why.
        """


class Transferred(Start):
    """The trained networks of a checkpoint (`init_from`).

    Args:
        path: path of the checkpoint.
        settings: the configuration.
        pool: the data.

    Raises:
        CheckpointError: the checkpoint cannot be read, is of another network or of classes that the data
            lacks, or names a class that the command does not trust.
    """

    def __init__(self, path: Path, settings: TrainConfig, pool: ImagePool) -> None:
        self.path = path
        self.content = checkpoint.read(self.path)
        trust = of_command(config.plain(settings), folders_of_this_command(), settings.trust)
        trust.check(self.content[KEY]["config"], f"checkpoint {self.path}")
        self.labels = labels_here(self.content, self.path, settings.network, pool.class_names)
        self.known = tuple(int(self.labels[label]) for label in self.content[KEY]["seen"])

    def load(self, learner: ContinualLearner) -> None:
        """Copy the networks, and the state that the strategy can use."""
        transfer(learner, self.content, self.path, self.labels)


class Continued(Start):
    """The checkpoint of a run to resume (`ckpt_path`).

    The weights are loaded here as well as by the trainer. A checkpoint that does not fit is therefore refused
    before anything is written.

    Args:
        path: path of the checkpoint.
        settings: the configuration.
        pool: the data.
        going_on: what was found out about the checkpoint.

    Raises:
        CheckpointError: the data is not the run's.
    """

    def __init__(self, path: Path, settings: TrainConfig, pool: ImagePool, going_on: Continuation) -> None:
        self.path, self.content, self.changed = path, going_on.content, going_on.changed
        _check_same_data(self.content, pool, self.path, settings.allow_changes)
        self.known = tuple(self.content[KEY]["known"])
        self.step, self.epochs = self.content["global_step"], self.content["epoch"] + 1

    def load(self, learner: ContinualLearner) -> None:
        """Load the state of the learner."""
        try:
            restore(learner, self.content["state_dict"], self.path)
        except CheckpointError as error:
            if not self.changed:
                raise
            raise CheckpointError(
                f"{error}; its networks were built with another {' or '.join(self.changed)}, "
                f"which cannot change within a run: leave it out, or start a new run with "
                f"init_from={self.path}"
            ) from error

    def check(self, scenario: Scenario) -> None:
        """Refuse a checkpoint that this stream cannot have written, and log where the run resumes."""
        check_progress(self.content, scenario, self.path)


def find_start(settings: TrainConfig, pool: ImagePool, going_on: Continuation | None) -> Start:
    """What a run starts from.

    Raises:
        CheckpointError: see Transferred and Continued.
    """
    if going_on is not None and settings.ckpt_path is not None:
        return Continued(Path(settings.ckpt_path), settings, pool, going_on)
    if settings.init_from is not None:
        return Transferred(Path(settings.init_from), settings, pool)
    return Start()


def _check_same_data(content: Mapping[str, Any], pool: ImagePool, path: Path, allowed: bool) -> None:
    source = f"ckpt_path={path}"
    before, now = content[KEY]["class_names"], pool.class_names
    if before != now and all(name in now for name in before):
        added = [shown(name) for name in now if name not in before]
        raise CheckpointError(
            f"{source}: the data set has other classes than the run had: new is "
            f"{added[0] if added else 'their order'}"
        )
    check_data(content, pool.description(), source, allowed)


def check_data(
    content: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], source: str, allowed: bool
) -> None:
    """Refuse data that is not the run's.

    Args:
        content: the checkpoint.
        found: the present data, by class name, as `ImagePool.description` describes it; additional classes
            do not matter.
        source: where the checkpoint comes from, for messages, e.g. "ckpt_path=last.ckpt".
        allowed: whether numbers and files may differ (`allow_changes`); classes must not be missing.

    Raises:
        CheckpointError: the message names the first difference.
    """
    for name, before in content[KEY]["data"].items():
        now = found.get(name)
        if now is None:
            raise CheckpointError(
                f"{source}: the data set has no class {shown(name)!r}, which the run was trained on"
            )
        if allowed:
            continue
        for split, word in (("train", "training"), ("test", "test")):
            if before[split] != now[split]:
                raise CheckpointError(
                    f"{source}: class {shown(name)!r} has {now[split]} {word} images, the run had "
                    f"{before[split]}; name the run's data with data.root, or set allow_changes=true"
                )
        if before["identity"] and now["identity"] and before["identity"] != now["identity"]:
            raise CheckpointError(
                f"{source}: the images of class {shown(name)!r} are others than the run's, though as many; "
                "name the run's data with data.root, or set allow_changes=true"
            )


def check_progress(content: Mapping[str, Any], scenario: Scenario, path: Path) -> None:
    """Refuse a checkpoint that this stream cannot have written, and log where the run resumes.

    Raises:
        CheckpointError: its classes or matrices are not those of its epoch.
    """
    epoch, done = content["epoch"], content["epoch"] + 1
    task = scenario.task_at(epoch)
    rows = len(content["callbacks"][EVALUATION]["pooled"])
    ended = sum(part.last_epoch <= epoch for part in scenario.tasks)
    if done > scenario.total_epochs or content[KEY]["seen"] != list(task.seen) or rows != ended:
        raise CheckpointError(
            f"checkpoint {path}: {done} epochs, classes {content[KEY]['seen']} and {rows} evaluations are "
            f"not of this stream, which has {scenario.total_epochs} epochs"
        )
    if done == scenario.total_epochs:
        where = "the end of the training"
    else:
        coming = scenario.task_at(done)
        tasks, epochs = len(scenario.tasks), coming.epochs
        where = f"task {coming.index + 1}/{tasks}, epoch {done - coming.first_epoch + 1}/{epochs}"
    source = facts.typed(path.absolute(), Path.cwd())
    log.info("going on at %s (step %d) from %s", where, content["global_step"], source)
    before, now = content[KEY]["threads"], torch.get_num_threads()
    if before != now:
        log.warning(
            "the run had %d threads, now there are %d: its figures will not be equal to the bit to those "
            "of a run left alone; OMP_NUM_THREADS=%d sets them",
            before,
            now,
            before,
        )
