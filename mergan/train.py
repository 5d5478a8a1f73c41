"""Train one generator on a stream of tasks, and measure what it forgets.

After each task the generator is evaluated on all classes seen so far, a sample grid is drawn, and a
checkpoint is written. The run folder holds configuration, figures, matrices, grids, checkpoints and logs.
After Ctrl-C or a crash, resume with ckpt_path=RUN/checkpoints/last.ckpt; no other setting is needed. With -m
and several values per key you get a sweep: one run per combination, and a table at the end. A sweep goes on
when you repeat its command with resume=auto and its hydra.sweep.dir.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import hydra
from omegaconf import DictConfig

from mergan import config
from mergan.cli import jobs
from mergan.cli.door import Door
from mergan.cli.guard import guard
from mergan.system.interpreter import run_and_leave

config.register()

DOOR = Door(
    "train",
    about=__doc__ or "",
    usage="[KEY=VALUE ...] [-m] [--config-dir FOLDER] [--cfg job]",
    examples=(
        "strategy=joint_retrain",
        "strategy=replay_alignment scenario=five_tasks 'epochs=[4,4,4,4,8]'",
        "experiment=mnist_align data=fashion_mnist hydra.run.dir=runs/first resume=auto",
        "ckpt_path=runs/first/checkpoints/last.ckpt",
        "-m strategy=finetune,joint_retrain seed=0,1,2 hydra/launcher=parallel hydra.sweep.dir=runs/six",
        "experiment=paper_svhn_retrain debug=smoke",
    ),
    keys=(
        "epochs",
        "steps_per_epoch",
        "batch_size",
        "embedding_dim",
        "lr",
        "lr_d",
        "seed",
        "scenario.tasks",
        "data.root",
        "data.download",
        "evaluation.split",
        "cache_dir",
        "hydra.run.dir",
        "hydra.sweep.dir",
        "resume",
        "ckpt_path",
        "init_from",
        "allow_changes",
        "trust",
    ),
)


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name=DOOR.name)
def _train(cfg: DictConfig) -> float | None:
    """One job; in a multirun Hydra calls this once per job."""
    return jobs.train_job(cfg)


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    from hydra_plugins import mergan_plugins

    mergan_plugins.register()
    return guard(DOOR, typed, lambda _: _train())


class _Callable(ModuleType):
    """`import mergan.train` replaces the function `mergan.train` by this module; you can call both."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from mergan.cli.in_process import train

        return train(*arguments, **options)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    run_and_leave(main)
