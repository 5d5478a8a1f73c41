"""Draw images from the generator of a checkpoint into a file.

The file holds `images` uint8 (N, C, H, W) and `labels` int64 (N,), class after class. The images of a class
depend only on the seed, not on the other classes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from mergan import config
from mergan.cli import jobs
from mergan.cli.door import Door
from mergan.cli.guard import guard

config.register()

DOOR = Door(
    "sample",
    about=__doc__ or "",
    usage="checkpoint=FILE [KEY=VALUE ...]",
    examples=(
        "checkpoint=runs/first/checkpoints/last.ckpt per_class=500 out=samples.npz",
        "checkpoint=runs/first/checkpoints/task_02.ckpt 'classes=[0,2]' seed=1 out=two.npz",
    ),
)


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name=DOOR.name)
def _sample(cfg: DictConfig) -> None:
    from mergan.run.sampling import sample

    jobs.small_job(sample, cfg)


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return guard(DOOR, typed, lambda _: _sample())


if __name__ == "__main__":
    sys.exit(main())
