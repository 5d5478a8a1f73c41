"""Jobs of a sweep side by side on one machine: each in a process of its own, with its own cores or GPU."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mergan.cli import sweeps
from mergan.cli.watching import Watch
from mergan.config import trainer_arguments
from mergan.output.sweep import SweepFolder
from mergan.output.sweep_jobs import Job, Status
from mergan.system import interrupts, progress
from mergan.system.errors import ConfigError, TrainingError
from mergan.system.workers import WorkerDied, Workers, output_in


class ParallelLauncher(Launcher):
    """Runs jobs in worker processes, as the joblib launcher does. One that dies takes no other along.

    Args:
        n_jobs: how many at once; None or -1: as many as there are GPUs, or else cores.
        threads: threads of each job; None: OMP_NUM_THREADS if it is set, otherwise 1.
        gpus: the GPUs that the jobs take in turn; None: those that there are, if the trainer may use them.
            Jobs that share a GPU are possible: set n_jobs.
    """

    def __init__(self, n_jobs: int | None, threads: int | None, gpus: list[int] | None) -> None:
        self._jobs, self._threads, self._gpus = n_jobs, threads, gpus

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Find out what the machine has.

        Raises:
            ConfigError: a setting makes no sense.
        """
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        _check("n_jobs", self._jobs, (None, -1))
        _check("threads", self._threads, (None,))
        self.threads = self._threads or trainer_arguments.threads_asked() or 1
        self.gpus = (
            trainer_arguments.gpus(config.trainer.get("accelerator"))
            if self._gpus is None
            else _listed(self._gpus)
        )
        cores = max(1, trainer_arguments.processors() // self.threads)
        self.jobs = self._jobs if self._jobs not in (None, -1) else len(self.gpus) or cores

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs; returns their results in the order of the jobs."""
        setup_globals()
        folder = SweepFolder(Path(self.config.hydra.sweep.dir).absolute())
        state = Singleton.get_state()
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        jobs = min(self.jobs, len(job_overrides))
        own = [Job(number, tuple(words)) for number, words in zip(numbers, job_overrides, strict=True)]
        known = folder.jobs() or own  # another sweeper than ours makes no plan
        sweeps.begin(SweepFolder(Path(self.config.hydra.sweep.dir)))
        try:
            with Watch(folder, known) as watch, Workers(jobs, self.threads, self.gpus) as workers:
                futures: dict[Future[Any], int] = {
                    workers.submit(
                        _run,
                        folder,
                        (number, overrides, self.hydra_context, self.config, self.task_function, state),
                    ): number
                    for number, overrides in zip(numbers, job_overrides, strict=True)
                }
                results = {}
                for future in as_completed(futures):
                    results[futures[future]] = _result(future)
                    watch.ended(futures[future], results[futures[future]])
        except BaseException:
            _note_stopped(folder)
            raise
        return [results[number] for number in numbers]


def _run(folder: SweepFolder, arguments: tuple[Any, ...]) -> JobReturn:
    """A job, in a worker."""
    from hydra_plugins.hydra_joblib_launcher._core import execute_job

    number = arguments[0]
    with output_in(folder.log(number)), progress.written_to(folder.progress(number)):
        try:
            with interrupts.handled():
                return execute_job(*arguments)
        except interrupts.Interrupted as stop:  # which is noted in its record
            return JobReturn(status=JobStatus.FAILED, _return_value=TrainingError(f"stopped by {stop}"))


def _result(future: Future[Any]) -> JobReturn:
    try:
        result: JobReturn = future.result()
        return result
    except WorkerDied as error:
        advice = "perhaps memory ran out; the same command with resume=auto goes on"
        return JobReturn(status=JobStatus.FAILED, _return_value=TrainingError(f"{error}; {advice}"))
    except Exception as error:  # the configuration of this job cannot be composed
        return JobReturn(status=JobStatus.FAILED, _return_value=error)


def _note_stopped(folder: SweepFolder) -> None:
    """Jobs that had no time to note their end."""
    for job in folder.jobs():
        if job.status is Status.running:
            folder.write(replace(job, status=Status.stopped, reason="interrupted"))
    folder.write_tables()


def _check(name: str, value: Any, further: Sequence[Any]) -> None:
    if value not in further and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(f"hydra.launcher.{name}={value}: use a number of 1 or more, or null")


def _listed(gpus: Sequence[Any]) -> list[str]:
    if isinstance(gpus, str) or not all(isinstance(gpu, int) and gpu >= 0 for gpu in gpus):
        raise ConfigError(f"hydra.launcher.gpus={gpus}: use a list of numbers, e.g. [0,1], or null")
    return [str(gpu) for gpu in gpus]
