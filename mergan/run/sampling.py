"""Sample images from the generator of a checkpoint, or of every task of a run, into a file or a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from mergan import config
from mergan.config import hints
from mergan.config.ranges import Steps
from mergan.output import formats
from mergan.output.folder import RunFolder
from mergan.run.generator import Generator, check_request, checkpoint_of
from mergan.system.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from mergan.checkpoints.trust import Trust


def sample(cfg: DictConfig) -> None:
    """Draw images and write them to `cfg.out`, in the format that its suffix names (mergan.output.formats).

    Args:
        cfg: the keys of conf/sample.yaml.

    Raises:
        ConfigError: a number is out of range, the generator has not learned a class, the format is unknown,
            or nothing may be written there.
        CheckpointError: a checkpoint cannot be read.
    """
    form = formats.of(cfg.out)
    cfg = config.absolute_paths(cfg)
    if cfg.per_class is None:
        cfg.per_class = form.per_class if cfg.interpolate is None else form.paths_per_class
    check_request(cfg.per_class, cfg.seed)
    if cfg.interpolate is not None:
        hints.check("interpolate", cfg.interpolate, Steps)
    out = form.check(Path(cfg.out), cfg.overwrite)
    checkpoints = _checkpoints(cfg, form)
    from mergan.checkpoints import trust

    drawn = _drawn(cfg, form, checkpoints, trust.of_this_command(cfg))
    for line in form.write(drawn, out, cfg.overwrite):
        print(line)


def _checkpoints(cfg: DictConfig, form: formats.Format) -> list[Path]:
    """The checkpoints to draw from: one, or those of all tasks.

    Raises:
        ConfigError: the format shows all tasks, and the command names a file.
        CheckpointError: the folder holds no checkpoint.
    """
    path = Path(cfg.checkpoint)
    if not form.every_task or cfg.interpolate is not None:
        return [checkpoint_of(path)]
    if not os.path.isdir(path):
        raise ConfigError(
            f"checkpoint={path}: a film shows all tasks of a run; name a run folder, or add interpolate=8 to "
            "film the way from one image to another"
        )
    found = list(RunFolder(path).task_checkpoints.values())
    if not found:
        raise CheckpointError(f"{path}: holds no checkpoint of a finished task, so there is nothing to film")
    return found


def _drawn(
    cfg: DictConfig, form: formats.Format, checkpoints: list[Path], trust: Trust
) -> list[formats.Samples]:
    """Samples of each checkpoint in which one of the requested classes has been learned.

    The last checkpoint is read first: it says which classes may be requested.
    """
    from mergan.run.drawing import draw
    from mergan.run.trained import load_generator

    steps = 1 if cfg.interpolate is None else cfg.interpolate
    requested: list[int] | None = None
    names: list[str] = []
    found: list[formats.Samples] = []
    for path in reversed(checkpoints):
        trained = load_generator(path, trust)
        if requested is None:
            requested, names = Generator(trained).labels(cfg.classes), trained.class_names
        if trained.class_names != names:
            raise CheckpointError(f"checkpoint {path}: belongs to another run than {checkpoints[-1].name}")
        if labels := [label for label in requested if label in trained.seen]:
            found.insert(0, draw(trained, labels, cfg.per_class, steps, cfg.seed, form))
    return found
