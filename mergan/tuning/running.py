"""The search itself: trials side by side in worker processes, until there are as many as wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import Any, Protocol

from optuna.trial import TrialState

from mergan.cli import messages
from mergan.cli.jobs import keep_fonts_in
from mergan.config.trainer_arguments import gpus, processors, threads_asked
from mergan.output import places
from mergan.system.errors import MerganError
from mergan.system.interrupts import Interrupted
from mergan.system.workers import WorkerDied, Workers
from mergan.tuning import results, trial
from mergan.tuning.plan import Plan, described
from mergan.tuning.study import FIGURES, REASON, SECONDS, STATUS, Claim, SharedStudy
from mergan.tuning.trial import Order, Outcome, Reporter

ATTEMPTS = 3  # of a trial whose process dies or is asked to end by somebody else


class Submitter(Protocol):
    """What runs the trials."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run `function(*arguments)`; `result()` of the future raises WorkerDied if its process dies."""
        ...


class TrialError(MerganError):
    """No trial has come to an end.

    Args:
        message: one line.
        exit_status: that of the first trial that failed.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def search(plan: Plan, program: str, typed: Sequence[str]) -> None:
    """Run a search to its end and write its results.

    Args:
        plan: the search.
        program: how it was started, e.g. "python -m mergan.search".
        typed: the words typed after it.

    Raises:
        TrialError: all trials failed.
        MerganError: the storage or the folder cannot be used.
        KeyboardInterrupt, Interrupted: with a `remedy` that says how to go on.
    """
    threads = _threads(plan.settings.jobs)
    try:
        study = _opened(plan)
        print(described(plan), flush=True)
        keep_fonts_in(plan.cache_dir)
        workers = Workers(plan.settings.jobs, threads, gpus(plan.accelerator))
        with study.at_work(), workers:
            Search(study).run(workers)
        print(results.finish(study), flush=True)
    except (KeyboardInterrupt, Interrupted) as stop:
        remedy = f"; go on with {results.going_on(program, typed, plan.folder)}"
        stop.remedy = remedy  # type: ignore[union-attr]  # which mergan.cli.guard prints
        raise
    more = [word for word in typed if not word.startswith("search.trials=")]
    print(f"more trials: {results.going_on(program, more, plan.folder)} search.trials=...")
    failed = [trial for trial in study.trials() if trial.state is TrialState.FAIL]
    if failed and not results.finished(study):
        attributes = failed[0].user_attrs
        raise TrialError(f"all trials failed, the first with: {attributes[REASON]}", attributes[STATUS])


def _opened(plan: Plan) -> SharedStudy:
    """The study of a plan. If its storage is refused, no folder is left behind."""
    existed = plan.folder.exists()
    try:
        return SharedStudy(plan)
    finally:
        if not existed:
            places.remove_if_empty(plan.folder)


class Search:
    """The trials of this process.

    Args:
        study: the study that they belong to.
    """

    def __init__(self, study: SharedStudy) -> None:
        self.study, self.plan = study, study.plan
        self._running: dict[Future[Outcome], Claim] = {}
        self._attempts: dict[int, int] = {}

    def run(self, workers: Submitter) -> None:
        """Train until there is nothing left for this process.

        Args:
            workers: mergan.system.workers.Workers, or something else that runs functions.
        """
        jobs = self.plan.settings.jobs
        while True:
            while len(self._running) < jobs and (claim := self.study.claim()) is not None:
                self._submit(workers, claim)
            if not self._running:
                return
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                self._take(workers, future, self._running.pop(future))

    def _submit(self, workers: Submitter, claim: Claim) -> None:
        folder = self.study.folder(claim.number)
        folder.mkdir(parents=True, exist_ok=True)
        if claim.again:
            print(f"trial {claim.number}: goes on", flush=True)
        order = Order(
            tuple(self.plan.trial(claim.values)), folder, self.plan.config_dir, self._reporter(claim.number)
        )
        self._running[workers.submit(trial.run, order)] = claim

    def _reporter(self, number: int) -> Reporter | None:
        if self.plan.pruning is None:
            return None
        (maximised,) = self.plan.metrics.values()
        _, higher = self.plan.pruning
        return Reporter(self.plan.storage, self.plan.settings.name, number, maximised, higher)

    def _take(self, workers: Submitter, future: Future[Outcome], claim: Claim) -> None:
        """Tell the study how a trial has ended, or try again if its process has died."""
        try:
            outcome = future.result()
        except WorkerDied as error:
            outcome = Outcome(reason=str(error), status=messages.UNEXPECTED, interrupted=True)
        if outcome.interrupted:
            self._attempts[claim.number] = self._attempts.get(claim.number, 0) + 1
            if self._attempts[claim.number] < ATTEMPTS:
                print(f"trial {claim.number}: {outcome.reason}; it goes on", flush=True)
                self._submit(workers, claim)
                return
        self._tell(claim.number, outcome)
        print(results.line(self.study, claim.number), flush=True)
        results.write_trials(self.study)

    def _tell(self, number: int, outcome: Outcome) -> None:
        """Tell the study how a trial has ended."""
        missing = [name for name in self.plan.metrics if name not in outcome.figures]
        if missing and not outcome.reason:
            reason = f"{missing[0]} was not computed"
            outcome = replace(outcome, reason=reason, status=messages.REFUSED)
        state, values = TrialState.PRUNED if outcome.pruned else TrialState.FAIL, None
        if not outcome.reason:
            state = TrialState.COMPLETE
            values = [float(outcome.figures[name]) for name in self.plan.metrics]
        attributes = {
            FIGURES: dict(outcome.figures),
            SECONDS: round(outcome.seconds, 1),
            REASON: outcome.reason,
            STATUS: outcome.status,
        }
        self.study.finish(number, state, values, **attributes)


def _threads(jobs: int) -> int:
    """The threads of each trial: those that the user asks for, or an equal share of the processors."""
    return threads_asked() or max(1, processors() // jobs)
