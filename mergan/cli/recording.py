"""A job of a sweep keeps its own record, whatever process or machine runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hydra.conf import HydraConf
from omegaconf import OmegaConf

from mergan.cli import messages, sweeps
from mergan.output import sweep_tables
from mergan.output.sweep import SweepFolder
from mergan.output.sweep_jobs import Job, Status


class Recording:
    """The record of the job that this process runs, and the sweep's tables, which follow it.

    Args:
        hydra_cfg: Hydra's configuration of the job.
        run: the run folder.
    """

    def __init__(self, hydra_cfg: HydraConf, run: Path) -> None:
        # the job may have changed its working directory
        self.sweep = SweepFolder(Path(hydra_cfg.runtime.cwd) / hydra_cfg.sweep.dir)
        overrides = OmegaConf.to_container(hydra_cfg.overrides.task)
        assert isinstance(overrides, list)
        folder = self.sweep.within(run)
        self._job = Job(int(hydra_cfg.job.num), tuple(map(str, overrides)), Status.running, folder)
        self.sweep.write(self._job)
        self._all = self.sweep.jobs()
        if sweeps.current() is None:  # in a process of its own, or under another sweeper than ours
            sweeps.begin(self.sweep)

    def place(self) -> str:
        """Its number, from 0, and its place among the jobs of the sweep, e.g. "0 (1 of 4)"."""
        return f"{self._job.number} ({self._job.number + 1} of {len(self._all)})"

    def varied(self) -> str:
        """What tells it from the others, e.g. "strategy=ewc seed=1"; empty if nothing does."""
        return sweeps.name(self._job, sweep_tables.varying(self._all))

    def finished(self, figures: Mapping[str, float | str], run: Path) -> None:
        """The job is done; its results lie in `run`."""
        self._end(
            replace(self._job, status=Status.finished, figures=dict(figures), folder=self.sweep.within(run))
        )

    def failed(self, error: Exception, run: Path) -> None:
        """The job was refused or went wrong; it has a folder only if something lies there."""
        folder = self.sweep.within(run) if run.is_dir() else ""
        self._end(
            replace(
                self._job,
                status=Status.failed,
                folder=folder,
                reason=messages.one_line(error),
                exit_status=messages.status(error),
            )
        )

    def stopped(self) -> None:
        """A signal ended the job."""
        self._end(replace(self._job, status=Status.stopped, reason="interrupted"))

    def _end(self, job: Job) -> None:
        self.sweep.write(job)
        self.sweep.write_tables()
