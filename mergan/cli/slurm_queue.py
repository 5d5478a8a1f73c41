"""Wait for the jobs that a command has put into the queue of Slurm."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus

from mergan.cli import messages
from mergan.system.errors import TrainingError
from mergan.system.interrupts import Interrupted

if TYPE_CHECKING:
    from submitit import Job

LOOKS = 100  # for results, per second at most: the file system is shared
USUAL = ("None", "Priority", "Resources", "BeginTime", "JobArrayTaskLimit")  # reasons to wait
ASK = 10.0  # seconds between two questions to Slurm, which asks its users to be sparing with them
LATE = 20.0  # seconds by which a shared file system may show a result late, after the job has left the queue
TOLD = re.compile(r"slurmstepd[^:]*: error: (.*)")  # Slurm's own words in the log of a job


def wait(jobs: Sequence[Job[JobReturn]], first: int) -> list[JobReturn]:
    """Wait until all jobs have ended, and say of each how it did.

    The queue is asked with `squeue`, because not every cluster keeps the accounts that `sacct` reads.

    Args:
        jobs: the jobs.
        first: number of the first one in the sweep.

    Returns:
        What each job returned, in order. A job that left no result has the status FAILED.

    Raises:
        Interrupted: a signal arrived; its remedy says where the jobs are.
    """
    arrays = _arrays(jobs)
    print(
        f"{len(jobs)} jobs in the queue; squeue --jobs={arrays} shows those that have not ended", flush=True
    )
    try:
        return _results(jobs, first, arrays)
    except Interrupted as stop:
        stop.remedy = (
            f" waiting; the jobs go on: squeue --jobs={arrays} shows them, "
            f"scancel {arrays.replace(',', ' ')} cancels them"
        )
        raise


def _results(jobs: Sequence[Job[JobReturn]], first: int, arrays: str) -> list[JobReturn]:
    returned: dict[int, JobReturn] = {}
    gone: dict[int, float] = {}  # when a job without a result was first missing in the queue
    told: set[str] = set()
    asked = time.monotonic()
    while len(returned) < len(jobs):
        time.sleep(max(1.0, (len(jobs) - len(returned)) / LOOKS))
        for index, job in enumerate(jobs):
            late = index in gone and time.monotonic() - gone[index] > LATE
            if index not in returned and (late or job.paths.result_pickle.exists()):
                returned[index] = _result(job)
                _say(first + index, job, returned[index])
        if time.monotonic() - asked < ASK:
            continue
        asked, queue = time.monotonic(), _queue(arrays)
        if queue is not None:
            left = {index for index in range(len(jobs)) if index not in returned}
            gone = {index: gone.get(index, asked) for index in left if jobs[index].job_id not in queue}
            for reason in sorted(set(queue.values()).difference(USUAL, told)):
                told.add(reason)
                print(f"Slurm lets jobs wait: {reason}", flush=True)
    return [returned[index] for index in range(len(jobs))]


def cancel(jobs: Iterable[Job[Any]]) -> None:
    """Take jobs out of the queue."""
    if arrays := _arrays(jobs):
        subprocess.run(["scancel", *arrays.split(",")], check=False, capture_output=True)


def _arrays(jobs: Iterable[Job[Any]]) -> str:
    """The numbers of their arrays, with commas between."""
    return ",".join(dict.fromkeys(job.job_id.partition("_")[0] for job in jobs))


def _queue(arrays: str) -> dict[str, str] | None:
    """The jobs that are waiting, running or ending, and why they wait; None: Slurm gave no answer."""
    command = ["squeue", "--noheader", "--array", "--format=%i %r", f"--jobs={arrays}"]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    if answer.returncode and "Invalid job id" not in answer.stderr:  # Slurm forgets jobs after some minutes
        return None
    rows = (line.strip().partition(" ") for line in answer.stdout.splitlines())
    return {job: reason for job, _, reason in rows if job}


def _result(job: Job[JobReturn]) -> JobReturn:
    if job.paths.result_pickle.exists():
        try:
            return job.results()[0]
        except Exception as error:  # submitit's, with the traceback of the job in many lines
            return _failed(job, str(error).strip().splitlines()[-1])
    return _failed(job, "it left no result: cancelled, out of memory, or its node was lost")


def _failed(job: Job[JobReturn], reason: str) -> JobReturn:
    log = job.paths.stderr if job.paths.stderr.exists() else job.paths.stdout
    told = TOLD.findall(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else []
    more = f" ({told[-1].strip(' *')})" if told else ""
    error = TrainingError(f"job {job.job_id} of Slurm failed, {reason}{more}; see {log}")
    returned = JobReturn(status=JobStatus.FAILED)
    returned.return_value = error
    return returned


def _say(number: int, job: Job[JobReturn], returned: JobReturn) -> None:
    failed = returned.status == JobStatus.FAILED
    how = f"failed: {messages.one_line(returned._return_value)}" if failed else "finished"
    print(f"job {number}: {how}", flush=True)
