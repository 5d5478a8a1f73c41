"""A sweep over all combinations of values: every job is checked first and recorded, whatever launches it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.cli import messages, sweeps
from mergan.output.sweep import SweepFolder
from mergan.output.sweep_jobs import Status
from mergan.system import said


class GridSweeper(Sweeper):
    """Hydra's basic sweeper, with a folder that knows its jobs, and without an end at the first failed one.

    Args:
        max_batch_size: how many jobs are launched at a time; None: all of them.
        params: values that stand for words of the command line, which come first.
    """

    def __init__(self, max_batch_size: int | None, params: Mapping[str, str] | None) -> None:
        self._max_batch_size = max_batch_size
        self._params = [f"{key}={value}" for key, value in (params or {}).items()]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the configuration that the jobs share, and set up the launcher that it names."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Run the jobs.

        Raises:
            ConfigError: the folder holds a sweep already, or another process is running one there.
        """
        assert self.config is not None and self.hydra_context is not None and self.launcher is not None
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._params, *arguments])
        batches = BasicSweeper.split_arguments(overrides, self._max_batch_size)
        jobs = list(itertools.chain(*batches))
        options = self.hydra_context.config_loader.get_group_options
        groups = {override.get_key_element() for override in overrides if options(override.key_or_group)}
        self.validate_batch_is_legal(representative(jobs, groups))
        folder = SweepFolder(Path(self.config.hydra.sweep.dir))
        folder.path.mkdir(parents=True, exist_ok=True)
        with folder.locked():
            folder.plan(jobs, going_on=self.config.resume is config.Resume.auto)
            sweeps.begin(folder)
            OmegaConf.save(self.config, folder.path / "multirun.yaml")
            results: list[JobReturn] = []
            with _on_one_terminal(self.launcher):
                for batch in batches:
                    results += self.launcher.launch(batch, len(results))
            _settle(folder, results)
        return results


def representative(jobs: Sequence[Sequence[str]], groups: Collection[str]) -> list[Sequence[str]]:
    """Jobs among which every value meets every combination of group choices. Which keys exist, and of which
    type, follows from these choices; composing all jobs of a large grid would take minutes.

    Args:
        jobs: the overrides of each.
        groups: the keys that choose files.
    """
    seen: set[tuple[tuple[str, ...], str]] = set()
    chosen = []
    for job in jobs:
        choices = tuple(word for word in job if word.partition("=")[0] in groups)
        new = {(choices, word) for word in job} - seen
        if new:
            chosen.append(job)
            seen |= new
    return chosen


@contextmanager
def _on_one_terminal(launcher: Launcher) -> Iterator[None]:
    """Where the jobs run one after another here, let them say once what they have in common.

    Hydra's launcher prints all words of each job; `mergan.cli.jobs` prints those that vary.
    """
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher, log

    with ExitStack() as open_ones:
        if isinstance(launcher, BasicLauncher):
            open_ones.enter_context(said.once())
            log.setLevel(logging.WARNING)
            open_ones.callback(log.setLevel, logging.NOTSET)
        yield


def _settle(folder: SweepFolder, results: Sequence[Any]) -> None:
    """Complete the records of jobs that could not write theirs: they failed too early, or died."""
    for job, result in zip(folder.jobs(), results, strict=True):
        error = result._return_value if result.status is JobStatus.FAILED else None
        if error is not None and job.status is not Status.failed:
            reason, status = messages.one_line(error), messages.status(error)
            folder.write(replace(job, status=Status.failed, reason=reason, exit_status=status))
    folder.write_tables()
