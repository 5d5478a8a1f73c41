"""From a command to a run: choose its folder, start or resume it, and lock it against other processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.checkpoints.contents import KEY
from mergan.output import places
from mergan.output.folder import RunFolder
from mergan.output.reading import read_figures
from mergan.system.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """Where a command works.

    Attributes:
        folder: the run folder.
        checkpoint: the checkpoint to resume from, None for a new run.
    """

    folder: RunFolder
    checkpoint: Path | None


def choose_place(cfg: DictConfig, folder: Path) -> Place:
    """Decide where to work, without reading or writing a file.

    A command that is given `checkpoints/last.ckpt` resumes in the folder of that file. From any other
    checkpoint it starts a new folder, so that nothing is overwritten. With `resume=auto` it resumes in the
    folder that it names, if that folder holds a run; a run that began from another checkpoint too.

    Args:
        cfg: the configuration of the command.
        folder: the folder of a new run.

    Raises:
        ConfigError: the folder holds a run or checkpoints that would be overwritten.
    """
    run = RunFolder(folder)
    if cfg.ckpt_path is not None:
        path = Path(cfg.ckpt_path)
        own = RunFolder.holding(path)
        if own is not None:
            return Place(own, path)
        if run.holds_run and cfg.resume is not config.Resume.auto:
            raise ConfigError(
                f"hydra.run.dir={folder}: holds a run or checkpoints already; name another folder"
            )
        return Place(run, run.last if run.last.exists() else path)
    if not run.holds_run:
        return Place(run, None)
    if cfg.resume is not config.Resume.auto:
        raise ConfigError(
            f"hydra.run.dir={folder}: holds a run already; name another folder, or go on with resume=auto "
            f"or ckpt_path={run.last}"
        )
    if run.last.exists():
        return Place(run, run.last)
    if run.checkpoints:
        raise ConfigError(
            f"hydra.run.dir={folder}: holds checkpoints but no {run.last.name}; name another folder, and "
            f"go on with ckpt_path={run.checkpoints[-1]} there"
        )
    return Place(run, None)  # the run was stopped before its first checkpoint


def run(cfg: DictConfig, folder: Path, patience: float = 0) -> dict[str, float | str]:
    """Start or resume the run of a command in the folder that `choose_place` finds.

    The folder is locked before anything in it is read.

    Args:
        cfg: the checked configuration of the command.
        folder: the folder of a new run.
        patience: seconds to wait for another process that is training there.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        MerganError: something that the user can fix.
    """
    place = choose_place(cfg, folder)
    try:
        with place.folder.locked(patience):
            place = choose_place(cfg, folder)  # another process may have started or ended there since
            return _go(cfg, place)
    finally:
        places.remove_if_empty(place.folder.path)


def _go(cfg: DictConfig, place: Place) -> dict[str, float | str]:
    finished = _figures(place.folder)
    if cfg.ckpt_path is None and place.checkpoint is None and finished is not None:
        print(f"{place.folder.path}: finished already, and its checkpoints are gone")
        return finished
    from mergan.checkpoints import trust
    from mergan.run import automatic, estimate, experiment, resume

    if place.checkpoint is None:
        cfg = automatic.filled(cfg)
        estimate.check(cfg, cfg.data.num_classes)
        return experiment.train(cfg, place.folder.path)
    cfg = cfg.copy()
    cfg.ckpt_path = str(place.checkpoint)
    hydra_cfg = HydraConfig.get()
    trusted = trust.of_this_command(cfg)
    words: Any = OmegaConf.to_container(hydra_cfg.overrides.task)  # as typed, with their interpolations
    command = resume.Command(
        cfg,
        words,
        list(hydra_cfg.runtime.choices),
        trust.folders_of_this_command(),
        trusted,
    )
    going_on = resume.restore(command)
    if place.checkpoint.name == place.folder.last.name and finished is not None and not going_on.changed:
        print(f"{place.folder.path}: finished already, nothing is left to do")
        return finished
    going_on = replace(going_on, cfg=automatic.filled(going_on.cfg))
    estimate.check(going_on.cfg, len(going_on.content[KEY]["class_names"]))
    return experiment.train(going_on.cfg, place.folder.path, going_on)


def _figures(folder: RunFolder) -> dict[str, float | str] | None:
    """The final figures of a finished run."""
    return read_figures(folder.figures) if folder.finished else None
