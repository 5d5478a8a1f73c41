"""What a search has found: lines, the closing table, trials.csv, the best command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from mergan.cli.words import again, literal
from mergan.output import tables
from mergan.system.files import write_text
from mergan.system.text import shortened
from mergan.tuning.plan import Plan
from mergan.tuning.study import FIGURES, FOLDER, REASON, SECONDS, SharedStudy

TRIALS, BEST = "trials.csv", "best_command.txt"  # in the search folder
STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
WIDTH = 100  # columns of the closing table
ROWS = 10
CELL = 24  # characters of a value in it


def finished(study: SharedStudy) -> list[FrozenTrial]:
    """The trials with figures, by number."""
    return [trial for trial in study.trials() if trial.state is TrialState.COMPLETE]


def best(study: SharedStudy) -> list[FrozenTrial]:
    """The best trials first: all finished ones by the figure, or the Pareto front by the first figure."""
    several = len(study.plan.metrics) > 1
    trials = study.study.best_trials if several and finished(study) else finished(study)
    sign = -1 if next(iter(study.plan.metrics.values())) else 1
    return sorted(trials, key=lambda trial: (sign * trial.values[0], trial.number))


def line(study: SharedStudy, number: int) -> str:
    """What a trial has come to, in one line."""
    trial = study.trial(number)
    plan = study.plan
    values = " ".join(f"{part.name}={_value(trial.params[part.name])}" for part in plan.dimensions)
    seconds = f"{trial.user_attrs[SECONDS]:.0f} s"
    ended = sum(other.state.is_finished() for other in study.trials())
    begin = f"[{ended}/{plan.settings.trials}] trial {number}: {values}"
    if trial.state is not TrialState.COMPLETE:
        return f"{begin}  {STATES[trial.state]}: {trial.user_attrs[REASON]}  {seconds}"
    figures = "  ".join(f"{name} {value:.4g}" for name, value in zip(plan.metrics, trial.values, strict=True))
    leaders = best(study)
    if len(plan.metrics) > 1:
        standing = f"on the front ({len(leaders)})" if trial in leaders else "not on the front"
    else:
        standing = f"best {leaders[0].values[0]:.4g} (trial {leaders[0].number})"
    return f"{begin}  {figures}  {standing}  {seconds}"


def write_trials(study: SharedStudy) -> None:
    """Write trials.csv: a row per trial that has begun."""
    plan, trials = study.plan, study.trials()
    figures = list(dict.fromkeys(name for trial in trials for name in trial.user_attrs.get(FIGURES, {})))
    names = [part.name for part in plan.dimensions]
    rows: list[Sequence[str]] = [["number", "state", *names, *figures, SECONDS, REASON, "folder"]]
    for trial in trials:
        found = trial.user_attrs
        rows.append(
            [
                str(trial.number),
                STATES[trial.state],
                *(str(trial.params.get(name, "")) for name in names),
                *(str(found.get(FIGURES, {}).get(name, "")) for name in figures),
                str(found.get(SECONDS, "")),
                found.get(REASON, ""),
                _place(study, trial),
            ]
        )
    write_text(plan.folder / TRIALS, tables.comma_separated(rows))


def _place(study: SharedStudy, trial: FrozenTrial) -> str:
    """The run folder of a trial, which another process may have in a search folder of its own."""
    folder = study.folder(trial.number)
    of = trial.user_attrs.get(FOLDER, str(folder.parent))
    return folder.name if of == str(folder.parent) else str(Path(of) / folder.name)


def table(study: SharedStudy) -> str:
    """The best trials, best first, in at most WIDTH columns; trials.csv has the rest."""
    plan, trials = study.plan, best(study)[:ROWS]
    names = [part.name for part in plan.dimensions]
    for shown in range(len(names), -1, -1):  # the figures stay, the last keys go where there is no room
        headings = ["trial", *_short(names)[:shown], *plan.metrics, "seconds"]
        rows = [
            [
                str(trial.number),
                *(shortened(_value(trial.params[name]), CELL) for name in names[:shown]),
                *(f"{value:.4g}" for value in trial.values),
                f"{trial.user_attrs[SECONDS]:.0f}",
            ]
            for trial in trials
        ]
        text = tables.plain(headings, rows)
        if max(map(len, text.splitlines())) <= WIDTH:
            break
    return text if shown == len(names) else f"{text}\n({len(names) - shown} more keys in {TRIALS})"


def _short(names: Sequence[str]) -> list[str]:
    """The keys by their last parts, where that tells them apart."""
    last = [name.rpartition(".")[2] for name in names]
    return [short if last.count(short) == 1 else name for short, name in zip(last, names, strict=True)]


def finish(study: SharedStudy) -> str:
    """Write the results into the search folder; returns them for the terminal."""
    from mergan.tuning import pictures

    write_trials(study)
    states = [trial.state for trial in study.trials()]
    counts = [f"{states.count(state)} {name}" for state, name in STATES.items() if state in states]
    lines = [f"{len(states)} trials: {', '.join(counts)}"]
    if finished(study):
        pictures.draw(study.study, study.plan.metrics, study.plan.folder)
        lines += ["", *_headed(study), "", *_commands(study)]
    lines.append(f"search folder: {study.plan.folder}")
    return "\n".join(lines)


def _headed(study: SharedStudy) -> list[str]:
    if len(study.plan.metrics) == 1:
        return [table(study)]
    return ["the Pareto front, no trial of which is worse than another in all figures:", table(study)]


def _commands(study: SharedStudy) -> list[str]:
    """Write the best command of each trial on the front into a file; returns the lines for the terminal."""
    plan = study.plan
    trials = best(study) if len(plan.metrics) > 1 else best(study)[:1]
    commands = {trial.number: command(plan, trial.params) for trial in trials}
    text = "".join(f"# trial {number}\n{words}\n" for number, words in commands.items())
    write_text(plan.folder / BEST, text)
    first = trials[0].number
    which = f"best command (trial {first})" if len(trials) == 1 else f"trial {first} (all of them: {BEST})"
    return [f"{which}:", f"  {commands[first]}"]


def command(plan: Plan, values: dict[str, Any]) -> str:
    """The command line, quoted for a shell, that trains with the values of a trial."""
    program = "python train.py" if Path("train.py").is_file() else "mergan train"
    flags = [] if plan.config_dir is None else ["--config-dir", str(plan.config_dir)]
    return f"{program} {shlex.join([*flags, *plan.best(values)])}"


def going_on(program: str, typed: Sequence[str], folder: Path) -> str:
    """The command line that goes on with a search.

    Args:
        program: how it was started, e.g. "python -m mergan.search".
        typed: the words typed after it.
        folder: the search folder.
    """
    return again(program, typed, ("search.dir",), literal("search.dir", str(folder)))


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
