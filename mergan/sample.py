"""Draw images from a trained generator: arrays, a grid, a film of all tasks, or a folder of PNG files.

RUN is a run folder or a checkpoint. The suffix of `out` names the format. A .npz file holds `images` uint8
(N, C, H, W) and `labels` int64 (N,), class after class, and `class_names`. The images of a class depend only
on `seed` and `per_class`, not on the other classes, and are the same in every format.
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
    "sample",
    about=__doc__ or "",
    usage="RUN [KEY=VALUE ...]",
    examples=(
        "runs/first out=grid.png",
        "runs/first out=film.webp",
        "runs/first per_class=500 out=samples.npz",
        "runs/first interpolate=8 out=between.png",
        "runs/first/checkpoints/task_02.ckpt 'classes=[0,2]' seed=1 out=two/",
    ),
    first="checkpoint",
)


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name=DOOR.name)
def _sample(cfg: DictConfig) -> None:
    with collector_paused():
        from mergan.run.sampling import sample

    jobs.small_job(sample, cfg)


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return guard(DOOR, typed, lambda _: _sample())


if __name__ == "__main__":
    run_and_leave(main)
