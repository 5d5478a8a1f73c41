"""The study of a search in its storage: which trial is next, whose it is, and what came out of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mergan.system import files
from mergan.system.errors import ConfigError
from mergan.tuning import sampling, storage
from mergan.tuning.plan import Plan

# attributes of a trial in the storage
PROCESS, HOST, FOLDER = "process", "host", "folder"  # whose it is
FIGURES, SECONDS, REASON, STATUS = "figures", "seconds", "reason", "status"  # what came out, see Outcome
CLAIMING = "claim"  # the lock under which a process looks for its next trial


@dataclass(frozen=True)
class Claim:
    """A trial that this process works on.

    Attributes:
        number: its number in the study.
        values: by name of the dimension.
        again: whether another process has begun it.
    """

    number: int
    values: Mapping[str, Any]
    again: bool = False


class SharedStudy:
    """The study of a search, which several processes may share.

    A process holds a lock in the search folder as long as it lives, and every trial names its process. So a
    trial whose process is gone is recognised, and the next one goes on with it.

    Args:
        plan: the search.

    Raises:
        ConfigError: the storage holds another search under this name, or cannot be read.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._storage = storage.open_storage(plan.storage)
        self.study = self._opened()
        self._process = f"process-{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self._check_same()

    def _opened(self) -> Study:
        settings = self.plan.settings
        return optuna.create_study(
            storage=self._storage,
            study_name=settings.name,
            sampler=sampling.sampler(settings.sampler, settings.seed, settings.jobs > 1),
            directions=["maximize" if higher else "minimize" for higher in self.plan.metrics.values()],
            load_if_exists=True,
        )

    def _check_same(self) -> None:
        """Refuse to go on with a search for something else."""
        then = self.study.user_attrs
        for key, value in self.plan.record().items():
            if key not in then:
                self.study.set_user_attr(key, value)
            elif then[key] != value:
                was = " ".join(map(str, then[key])) if isinstance(then[key], list) else then[key]
                raise ConfigError(
                    f"search.dir={self.plan.folder}: holds a search with other words ({key}: {was}); "
                    "repeat that command, or name another folder (with search.storage another search.name)"
                )

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let other processes know that this one lives, for as long as the context is open."""
        files.tidy(self.plan.folder)  # locks of killed processes
        with files.alone(self.plan.folder / self._process):
            yield

    def folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.plan.folder / f"trial_{number:03d}"

    def trial(self, number: int) -> FrozenTrial:
        """A trial as the storage has it now."""
        return self.study.get_trials(deepcopy=False)[number]

    def trials(self) -> list[FrozenTrial]:
        """All trials that have begun, by number."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state is not TrialState.WAITING]

    def claim(self) -> Claim | None:
        """The next trial for this process: one that a process has left behind, or else a new one.

        Returns:
            None: there are as many trials as the search wants, and none is left behind.
        """
        with files.alone(self.plan.folder / CLAIMING), storage.in_use(self.plan.storage):
            trials = self.study.get_trials(deepcopy=False)
            for trial in trials:
                if trial.state is TrialState.RUNNING and self._is_left_behind(trial):
                    return self._adopted(trial)
            waiting = [trial.number for trial in trials if trial.state is TrialState.WAITING]
            if min(waiting, default=len(trials)) >= self.plan.settings.trials:
                return None
            if not waiting:
                # it has its process from the start: whenever this one is killed, the trial can be recognised
                self.study.enqueue_trial({}, user_attrs=self._mine())
            proposed = self.study.ask()
            if proposed.number >= self.plan.settings.trials:
                # a process that shares the storage, but not this folder and its lock, has been faster
                self._storage.set_trial_state_values(proposed._trial_id, TrialState.WAITING)
                return None
            return self._told(proposed, again=False)

    def _mine(self) -> dict[str, str]:
        return {PROCESS: self._process, HOST: socket.gethostname(), FOLDER: str(self.plan.folder)}

    def _is_left_behind(self, trial: FrozenTrial) -> bool:
        """Whether no process works on a running trial, and this one can go on with its run folder."""
        attributes = trial.user_attrs
        if attributes.get(FOLDER) != str(self.plan.folder) or attributes[PROCESS] == self._process:
            return False
        same_disk = attributes[HOST] == socket.gethostname() or self.folder(trial.number).exists()
        return same_disk and not files.busy(self.plan.folder / attributes[PROCESS])

    def _adopted(self, left: FrozenTrial) -> Claim:
        study = self._opened()  # this one keeps what it has read of other trials until it asks for a new one
        return self._told(optuna.trial.Trial(study, left._trial_id), again=True)

    def _told(self, trial: optuna.trial.Trial, again: bool) -> Claim:
        """Tell the storage who works on a trial; the sampler proposes the values that the trial lacks."""
        for key, value in self._mine().items():
            trial.set_user_attr(key, value)
        values = {part.name: part.suggest(trial) for part in self.plan.dimensions}
        return Claim(trial.number, values, again)

    def finish(
        self, number: int, state: TrialState, values: Sequence[float] | None = None, **attributes: Any
    ) -> None:
        """Tell the storage how a trial has ended.

        Args:
            number: the trial.
            state: complete, pruned or failed.
            values: of a complete one, the figures to optimise.
            **attributes: what else to keep of it.
        """
        with storage.in_use(self.plan.storage):
            trial = self.trial(number)
            for key, value in attributes.items():  # first, because a trial that has ended cannot be changed
                self._storage.set_trial_user_attr(trial._trial_id, key, value)
            self.study.tell(number, values, state)
