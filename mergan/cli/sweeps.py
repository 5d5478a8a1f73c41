"""What a sweep prints: its closing table, its best command, and the command that goes on."""

from __future__ import annotations

from collections.abc import Sequence

from mergan import config
from mergan.cli import words
from mergan.output import sweep_tables, tables
from mergan.output.sweep import SweepFolder
from mergan.output.sweep_jobs import Job, Status
from mergan.output.sweep_tables import Setting
from mergan.system.text import shortened, shown

WIDTH = 100  # characters of a line
LONGEST_VALUE = 28  # characters of a setting's value
MOST_ROWS = 40  # of the closing table
RANKING = ("reverse_accuracy", "accuracy")  # the first that all finished jobs have decides what is best
OWN = ("hydra.sweep.dir", "resume")  # set anew by the command that goes on


_current: SweepFolder | None = None


def begin(folder: SweepFolder | None) -> None:
    """Remember the folder of the sweep that this command runs; None: it is not, or not yet, a sweep."""
    global _current
    _current = folder


def current() -> SweepFolder | None:
    """The folder of the sweep that this command runs."""
    return _current


def go_on(typed: Sequence[str], folder: SweepFolder, command: str) -> str:
    """The command line that goes on with a sweep.

    Args:
        typed: the words of the command, without its name.
        folder: the folder of the sweep.
        command: its name, e.g. `python train.py`.
    """
    place = words.literal("hydra.sweep.dir", str(folder.path))
    return words.again(command, typed, OWN, place, "resume=auto")


def best_command(job: Job, command: str) -> str:
    """The command line that runs a job of a sweep by itself."""
    preset = any(words.key_of(word) == "sweep" for word in job.overrides)
    alone = ["hydra.mode=RUN"] if preset else []  # its values stand there, and what else it sets stays
    return words.again(command, job.overrides, OWN, *alone)


def closing(folder: SweepFolder, command: str) -> str:
    """The end of a sweep's output: settings, the best first, failed jobs and why, the best command.

    The lines of the table have at most 100 characters; the csv files of the folder hold everything.

    Args:
        folder: the folder of the sweep.
        command: name of the command, e.g. `python train.py`.
    """
    jobs = folder.jobs()
    lines = []
    ranking = _ranking(jobs)
    if ranking is not None:
        keys, settings = sweep_tables.settings(jobs)
        ranked = sorted(
            (setting for setting in settings if setting.finished), key=lambda setting: -setting.means[ranking]
        )
        lines += [_table(keys, ranked[:MOST_ROWS]), f"the best {ranking.replace('_', ' ')} first"]
        if len(ranked) > MOST_ROWS:
            lines[-1] += f"; {len(ranked) - MOST_ROWS} more in {folder.summary.name}"
        lines[-1] += f"; everything: {folder.summary}, {folder.table}"
        best = max(ranked[0].finished, key=lambda job: float(job.figures[ranking]))
        lines.append(f"the best again: {best_command(best, command)}")
        if any("debug=smoke" in job.overrides for job in jobs):
            lines.append(config.MEANINGLESS)
    lines += [_without_figures(job, sweep_tables.varying(jobs)) for job in jobs if not job.figures]
    return "\n".join(lines)


def status(jobs: Sequence[Job]) -> int:
    """The exit status of a sweep: that of its first failed job."""
    return next((job.exit_status for job in jobs if job.status is Status.failed), 0)


def name(job: Job, keys: Sequence[str]) -> str:
    """What tells a job from the others, e.g. `strategy=ewc seed=1`."""
    settings = job.settings
    return " ".join(f"{key}={settings[key]}" for key in keys if key in settings)


def _ranking(jobs: Sequence[Job]) -> str | None:
    finished = [job for job in jobs if job.figures]
    return next((key for key in RANKING if finished and all(key in job.figures for job in finished)), None)


def _without_figures(job: Job, keys: Sequence[str]) -> str:
    reason = f": {job.reason}" if job.reason else ""
    return shortened(shown(f"{job.status}: job {job.number}{reason} ({name(job, keys)})"), WIDTH)


def _table(keys: Sequence[str], ranked: Sequence[Setting]) -> str:
    """As many columns as fit, the figures in the order of the closing table of a run."""
    repeated = any(len(setting.jobs) > 1 for setting in ranked)
    columns: dict[str, list[str]] = {
        shortened(key, LONGEST_VALUE): [shortened(setting.values[place], LONGEST_VALUE) for setting in ranked]
        for place, key in enumerate(keys)
    }
    if repeated:
        columns["seeds"] = [f"{len(setting.finished)}/{len(setting.jobs)}" for setting in ranked]
    kept = columns
    for figure, heading in tables.columns([setting.means for setting in ranked]).items():
        if not any(figure in setting.means for setting in ranked):
            continue
        wider = kept | {heading: [_moments(setting, figure) for setting in ranked]}
        if max(map(len, _plain(wider).splitlines())) > WIDTH:
            break
        kept = wider
    return _plain(kept)


def _plain(columns: dict[str, list[str]]) -> str:
    rows = list(zip(*columns.values(), strict=True))
    return tables.plain(list(columns), rows)


def _moments(setting: Setting, figure: str) -> str:
    """A mean with its standard deviation, if there is one."""
    (mean,) = tables.figures(setting.means, [figure])
    if figure not in setting.deviations:
        return mean
    (deviation,) = tables.figures(setting.deviations, [figure])
    return f"{mean} ± {deviation}"
