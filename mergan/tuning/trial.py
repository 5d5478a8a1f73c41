"""A trial: one training in a worker process, started, resumed, stopped early."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from mergan.cli import in_process, messages
from mergan.system import interrupts
from mergan.system.workers import output_in
from mergan.tuning import sampling, storage

LOG = "output.log"
PATIENCE = 30.0  # seconds: the worker of a search that was killed outlives it by a moment


@dataclass(frozen=True)
class Reporter:
    """Reports a trial's figure after each task to its study, and asks whether to stop.

    Attributes:
        storage, study: where the study is.
        number: number of the trial.
        maximised: whether the study maximises.
        higher: whether a higher figure is better.
    """

    storage: str
    study: str
    number: int
    maximised: bool
    higher: bool

    def __call__(self, task: int, value: float) -> bool:
        """Whether the trial should end after this task."""
        study = optuna.load_study(
            study_name=self.study,
            storage=storage.open_storage(self.storage),
            pruner=sampling.BelowMedian(),
        )
        trial = optuna.trial.Trial(study, study.get_trials(deepcopy=False)[self.number]._trial_id)
        # Optuna compares in the direction of the study
        trial.report(value if self.maximised == self.higher else -value, task)
        return trial.should_prune()


@dataclass(frozen=True)
class Order:
    """What a worker process is asked to train: overrides and the run folder; see `mergan.train`."""

    overrides: tuple[str, ...]
    folder: Path
    config_dir: Path | None
    reporter: Reporter | None


@dataclass(frozen=True)
class Outcome:
    """How a trial has ended.

    Attributes:
        figures: those of metrics.json; empty if there are none.
        seconds: how long this process has worked on it.
        reason: why it has no figures, one line.
        status: the exit status that the training alone would have had.
        pruned: whether it was stopped early.
        interrupted: whether its process was killed or asked to end. It can go on from its last checkpoint.
    """

    figures: Mapping[str, float | str] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    status: int = 0
    pruned: bool = False
    interrupted: bool = False


def run(order: Order) -> Outcome:
    """Train, or go on with what the run folder holds. Everything printed goes to a file in that folder."""
    from mergan.callbacks.pruning import Pruned, judged_by

    started = time.monotonic()
    with interrupts.handled(), output_in(order.folder / LOG):
        try:
            with judged_by(order.reporter):
                overrides = [*order.overrides, "resume=auto"]
                record = in_process.train(overrides, order.folder, order.config_dir, PATIENCE)
            return Outcome(record.figures, time.monotonic() - started)
        except Pruned as stop:
            return Outcome(seconds=time.monotonic() - started, reason=str(stop), pruned=True)
        except (KeyboardInterrupt, interrupts.Interrupted):
            return Outcome(reason="its process was asked to end", interrupted=True)
        except Exception as error:
            status = messages.report(error)
            return Outcome(seconds=time.monotonic() - started, reason=messages.one_line(error), status=status)
