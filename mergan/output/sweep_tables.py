"""The tables of a sweep: what varies among its jobs, a row per job, a row per setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mergan.output import tables
from mergan.output.sweep_jobs import Job

SEED = "seed"  # the key over which is averaged


@dataclass(frozen=True)
class Setting:
    """The jobs that differ in their seed alone.

    Attributes:
        values: the values of the keys that vary in the sweep, without the seed.
        jobs: all of its jobs.
        means: mean of every numeric figure over the finished jobs.
        deviations: standard deviation with n - 1, of figures that two jobs or more have.
    """

    values: tuple[str, ...]
    jobs: list[Job]
    means: dict[str, float]
    deviations: dict[str, float]

    @property
    def finished(self) -> list[Job]:
        """Those of its jobs that have figures."""
        return [job for job in self.jobs if job.figures]


def varying(jobs: Sequence[Job]) -> list[str]:
    """The keys whose values differ among the jobs, in the order of the command line."""
    settings = [job.settings for job in jobs]
    keys = dict.fromkeys(key for setting in settings for key in setting)
    return [key for key in keys if len({setting.get(key) for setting in settings}) > 1]


def settings(jobs: Sequence[Job]) -> tuple[list[str], list[Setting]]:
    """The keys that vary, without the seed, and the settings in the order of their first jobs."""
    keys = [key for key in varying(jobs) if key != SEED]
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        own = job.settings
        groups.setdefault(tuple(own.get(key, "") for key in keys), []).append(job)
    return keys, [Setting(chosen, group, *_moments(group)) for chosen, group in groups.items()]


def _moments(jobs: Sequence[Job]) -> tuple[dict[str, float], dict[str, float]]:
    found: dict[str, list[float]] = {}
    for job in jobs:
        for key, value in job.figures.items():
            if not isinstance(value, str):
                found.setdefault(key, []).append(float(value))
    means = {key: math.fsum(numbers) / len(numbers) for key, numbers in found.items()}
    deviations = {
        key: math.sqrt(math.fsum((number - means[key]) ** 2 for number in numbers) / (len(numbers) - 1))
        for key, numbers in found.items()
        if len(numbers) > 1
    }
    return means, deviations


def per_job(jobs: Sequence[Job]) -> str:
    """sweep.csv: the columns are job, the keys that vary, status, the figures, reason, folder."""
    keys = varying(jobs)
    figures = list(dict.fromkeys(key for job in jobs for key in job.figures))
    rows = [["job", *keys, "status", *figures, "reason", "folder"]]
    for job in jobs:
        own = job.settings
        numbers = [str(job.figures.get(key, "")) for key in figures]
        chosen = [own.get(key, "") for key in keys]
        rows.append([str(job.number), *chosen, str(job.status), *numbers, job.reason, job.folder])
    return tables.comma_separated(rows)


def per_setting(jobs: Sequence[Job]) -> str:
    """summary.csv: the columns are the keys that vary without the seed, seeds (the number of finished jobs),
    jobs, and mean and standard deviation of every figure.
    """
    keys, found = settings(jobs)
    figures = list(dict.fromkeys(key for setting in found for key in setting.means))
    rows = [[*keys, "seeds", "jobs", *(f"{key}_{what}" for key in figures for what in ("mean", "std"))]]
    for setting in found:
        counts = [str(len(setting.finished)), str(len(setting.jobs))]
        moments = (setting.means, setting.deviations)
        rows.append(
            [*setting.values, *counts, *(str(part.get(key, "")) for key in figures for part in moments)]
        )
    return tables.comma_separated(rows)
