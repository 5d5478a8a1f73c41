"""Search for good settings: many trainings, each with values that the finished ones suggest.

Give keys of a training several values in Hydra's grammar: choice(), range(), interval(), tag(log,interval()),
a,b,c, glob(). Other keys are the same in all trials. Every trial is a training with a run folder in the
search folder. Repeat the command with search.dir= to go on, e.g. after Ctrl-C or with more trials. The search
folder gets trials.csv, pictures and the best command. Needs Optuna: pip install 'mergan[search]'.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from mergan.cli.door import Door
from mergan.cli.guard import guard
from mergan.system.errors import ConfigError
from mergan.system.interpreter import run_and_leave

DOOR = Door(
    "search",
    about=__doc__ or "",
    usage="KEY=VALUES [KEY=VALUE ...] [--config-dir FOLDER]",
    examples=(
        "strategy=joint_retrain 'lr=tag(log,interval(1e-4,1e-2))' 'batch_size=choice(16,32,64)'",
        "'strategy=glob(*)' 'epochs=int(interval(3,10))' search.trials=40 search.jobs=2 search.dir=runs/best",
        "'lr=interval(1e-4,1e-2)' 'search.metric=[reverse_accuracy,train_seconds]'",
        "'lr=choice(1e-4,1e-3)' search.sampler=random debug=smoke",
    ),
    composed=False,
)


def _search(typed: Sequence[str]) -> None:
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("a search needs Optuna: pip install 'mergan[search]'")
    from mergan.tuning import running
    from mergan.tuning.plan import plan

    running.search(plan(typed), DOOR.command, typed)


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return guard(DOOR, typed, _search)


if __name__ == "__main__":
    run_and_leave(main)
