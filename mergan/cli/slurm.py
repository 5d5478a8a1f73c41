"""`hydra/launcher=slurm`: the runs of a sweep as jobs of Slurm. mergan.cli.slurm_job is what a job does."""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import typing
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from mergan.cli import slurm_job, slurm_queue
from mergan.config import hints
from mergan.config.ranges import Count, Positive, Whole
from mergan.system.errors import ConfigError

if TYPE_CHECKING:
    from submitit import AutoExecutor, Job

NAME = "hydra/launcher=slurm"
OWN = ("submitit_folder", "max_num_timeout", "array_size")  # not options of sbatch
# As many threads as cores, on whose number the figures depend. Since Slurm 22.05 srun must be told as well.
THREADS = "export {OMP_NUM_THREADS,SRUN_CPUS_PER_TASK}=${SLURM_CPUS_PER_TASK:-1}"
EARLY = 60  # seconds by which Slurm may announce the end of the time too early, as sbatch --signal documents
OF_ANY_CLUSTER = ("name", "timeout_min", "cpus_per_task", "mem_gb", "gpus_per_node")  # to submitit


@dataclass(frozen=True)
class Settings:
    """The keys of conf/hydra/launcher/slurm.yaml, where each is explained; submitit's, but for array_size."""

    submitit_folder: str
    name: str
    partition: str | None
    timeout_min: Count
    signal_delay_s: Count
    max_num_timeout: Whole
    cpus_per_task: Count | None
    mem_gb: Positive | None
    gpus_per_node: Count | None
    gres: str | None
    array_size: Count
    array_parallelism: Count
    account: str | None
    qos: str | None
    constraint: str | None
    exclude: str | None
    additional_parameters: dict[str, Any]
    setup: list[str]

    def for_sbatch(self) -> dict[str, Any]:
        """The options of sbatch, as submitit names them; those that only Slurm has begin with slurm_."""
        given = {key: value for key, value in vars(self).items() if key not in OWN and value is not None}
        given["setup"] = [THREADS, *self.setup]
        return {key if key in OF_ANY_CLUSTER else f"slurm_{key}": value for key, value in given.items()}

    def check_time(self) -> None:
        """Refuse a time limit that Slurm may announce before the job has begun.

        Raises:
            ConfigError: the limit is not longer than the announcement comes before its end.
        """
        before = self.signal_delay_s + EARLY
        if self.timeout_min * 60 <= before:
            raise ConfigError(
                f"hydra.launcher.timeout_min={self.timeout_min}: Slurm announces the end up to {before} s "
                f"before it (signal_delay_s={self.signal_delay_s}, and a minute too early); use "
                f"{before // 60 + 1} or more"
            )


class SlurmLauncher(Launcher):
    """Queues the jobs of a sweep as arrays, and waits for all of them.

    A job that is preempted or reaches its time limit is started again by Slurm and goes on in its run folder.
    """

    def __init__(self, **settings: Any) -> None:
        """Take the settings as Hydra gives them; `setup` reads them with their names for messages."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Check the settings and the machine, before anything is written.

        Raises:
            ConfigError: a setting has a wrong value, the extra is missing, or this machine has no Slurm.
        """
        given: Any = OmegaConf.to_container(config.hydra.launcher, resolve=True)
        del given["_target_"]
        for key, hint in typing.get_type_hints(Settings, include_extras=True).items():
            hints.check(f"hydra.launcher.{key}", given[key], hint)
        self.settings = Settings(**given)
        self.settings.check_time()
        if find_spec("submitit") is None or find_spec("hydra_plugins.hydra_submitit_launcher") is None:
            raise ConfigError(f"{NAME}: needs submitit; install it with pip install 'mergan[slurm]'")
        if shutil.which("sbatch") is None:
            raise ConfigError(
                f"{NAME}: this machine has no sbatch; start the command where jobs are submitted, or leave "
                "the launcher out"
            )
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Queue the jobs, and wait until all of them have ended.

        Args:
            job_overrides: the overrides of each job.
            initial_job_idx: number of the first job in the sweep.

        Returns:
            What each job returned, in order; the status of one that failed is FAILED.

        Raises:
            ConfigError: Slurm refuses the jobs; none stays in the queue.
            Interrupted: a signal arrived while the command waited. The jobs stay in the queue.
        """
        numbered = list(enumerate(job_overrides, initial_job_idx))
        for number, overrides in numbered:
            print(f"job {number}: {','.join(filter_overrides(overrides)) or 'defaults'}", flush=True)
        size = self.settings.array_size
        executor = self._executor()
        queued: list[Job[JobReturn]] = []
        for start in range(0, len(numbered), size):
            try:
                with redirect_stderr(io.StringIO()):  # where submitit prints what sbatch says
                    queued += executor.map_array(
                        self._job(), *self._arguments(numbered[start : start + size])
                    )
            except Exception as error:
                slurm_queue.cancel(queued)
                self._remove_unqueued()
                raise ConfigError(f"{NAME}: sbatch refuses the jobs ({_said(error)})") from error
        return slurm_queue.wait(queued, initial_job_idx)

    def _executor(self) -> AutoExecutor:
        from submitit import AutoExecutor

        settings = self.settings
        executor = AutoExecutor(
            settings.submitit_folder, cluster="slurm", slurm_max_num_timeout=settings.max_num_timeout
        )
        executor.update_parameters(**settings.for_sbatch())
        return executor

    def _remove_unqueued(self) -> None:
        """Remove the files of jobs that got no number from Slurm."""
        from submitit.core.utils import JobPaths

        folder = JobPaths.get_first_id_independent_folder(self.settings.submitit_folder)
        for path in (*folder.glob("*.pkl"), *folder.glob(".submission_file_*.sh")):
            path.unlink()
        with suppress(OSError):  # it holds the files of jobs in the queue
            folder.rmdir()

    def _job(self) -> Any:
        """What a job calls; the plugin's launcher does just that, and composes the configuration first."""
        from hydra_plugins.hydra_submitit_launcher import submitit_launcher

        job = submitit_launcher.SlurmLauncher()
        task = functools.partial(slurm_job.run, self.task_function)
        job.setup(hydra_context=self.context, task_function=task, config=self.config)
        return job

    def _arguments(self, numbered: Sequence[tuple[int, Sequence[str]]]) -> list[list[Any]]:
        """The arguments of the calls, by argument."""
        state = Singleton.get_state()
        calls = [
            (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", state)
            for number, overrides in numbered
        ]
        return [list(column) for column in zip(*calls, strict=True)]


def _said(error: Exception) -> str:
    """What sbatch itself said, as far as it can be found in submitit's error."""
    cause = error.__cause__
    told = cause.stderr if isinstance(cause, subprocess.CalledProcessError) and cause.stderr else str(error)
    lines = [line for line in str(told).splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: error: ") if lines else type(error).__name__
