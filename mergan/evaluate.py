"""Measure the generator of a checkpoint on the classes that it has learned.

RUN is a run folder, which means its last checkpoint, or a checkpoint. The figures are the same as those of a
run: accuracy by the judge, the metrics, reverse accuracy, and forgetting, computed from the matrices in the
checkpoint. The data set is that of the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from mergan import config
from mergan.cli import jobs
from mergan.cli.door import Door
from mergan.cli.guard import guard
from mergan.system.interpreter import collector_paused, run_and_leave

config.register()

DOOR = Door(
    "evaluate",
    about=__doc__ or "",
    usage="RUN [KEY=VALUE ...]",
    examples=(
        "runs/first/checkpoints/task_02.ckpt",
        "runs/first evaluation.samples_per_class=1000 out=figures.json",
        "runs/first evaluation=accuracy root=/data",
        "runs/first images=real out=real.json",
    ),
    first="checkpoint",
)


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name=DOOR.name)
def _evaluate(cfg: DictConfig) -> None:
    with collector_paused():
        from mergan.run.measurement import measure

    jobs.small_job(measure, cfg)


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return guard(DOOR, typed, lambda _: _evaluate())


if __name__ == "__main__":
    run_and_leave(main)
