"""From a command to a run: in which folder, new or continued, and nobody else at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mergan import config, outputs, storage
from mergan.contents import KEY
from mergan.errors import ConfigError
from mergan.run_files import read_figures

LAST = "last.ckpt"


@dataclass(frozen=True)
class Place:
    """Where a command is at work.

    Attributes:
        folder: the run folder.
        checkpoint: what it goes on from, None for a new run.
    """

    folder: Path
    checkpoint: Path | None


def choose_place(cfg: DictConfig, folder: Path) -> Place:
    """Where to work; nothing is read and nothing is written for it.

    A command goes on in the folder that holds the given `checkpoints/last.ckpt`. From another checkpoint it
    begins a new folder, so that nothing is overwritten. With `resume=auto` it goes on in the folder that it
    names, if that holds a run.

    Args:
        cfg: the configuration of the command.
        folder: the folder of a new run.

    Raises:
        ConfigError: the folder holds a run or checkpoints that would be written over.
    """
    if cfg.ckpt_path is not None:
        path = Path(cfg.ckpt_path)
        if path.name == LAST and path.resolve().parent.name == "checkpoints":
            return Place(path.resolve().parent.parent, path)
        if outputs.is_run_folder(folder):
            raise ConfigError(
                f"hydra.run.dir={folder}: holds a run or checkpoints already; name another folder"
            )
        return Place(folder, path)
    last = folder / "checkpoints" / LAST
    if not outputs.is_run_folder(folder):
        return Place(folder, None)
    if cfg.resume is not config.Resume.auto:
        raise ConfigError(
            f"hydra.run.dir={folder}: holds a run already; name another folder, or go on with resume=auto "
            f"or ckpt_path={last}"
        )
    if last.exists():
        return Place(folder, last)
    others = sorted(path for path in (folder / "checkpoints").glob("*.ckpt"))
    if others:
        raise ConfigError(
            f"hydra.run.dir={folder}: holds checkpoints but no {LAST}; name another folder, and go on with "
            f"ckpt_path={others[-1]} there"
        )
    return Place(folder, None)  # it was stopped before its first checkpoint


def run(cfg: DictConfig, folder: Path) -> dict[str, float | str]:
    """Train as the command says, or go on, in the folder that it means; see `choose_place`.

    The folder is this process' own before anything in it is read.

    Args:
        cfg: the checked configuration of the command.
        folder: the folder of a new run.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        MerganError: something the user can mend.
    """
    place = choose_place(cfg, folder)
    try:
        with storage.locked(place.folder):
            place = choose_place(cfg, folder)  # another process may have begun or ended there in the meantime
            return _go(cfg, place)
    finally:
        outputs.remove_if_empty(place.folder)


def _go(cfg: DictConfig, place: Place) -> dict[str, float | str]:
    finished = _figures(place.folder)
    if cfg.ckpt_path is None and place.checkpoint is None and finished is not None:
        print(f"{place.folder}: finished already, and its checkpoints are gone")
        return finished
    from mergan import estimate, experiment, resume, trust  # torch and Lightning load only now

    if place.checkpoint is None:
        estimate.check(cfg, cfg.data.num_classes)
        return experiment.train(cfg, place.folder)
    cfg = cfg.copy()
    cfg.ckpt_path = str(place.checkpoint)
    hydra_cfg = HydraConfig.get()
    trusted = trust.of_this_command(cfg)
    words: Any = OmegaConf.to_container(hydra_cfg.overrides.task)  # as they stand, interpolations and all
    command = resume.Command(
        cfg,
        words,
        list(hydra_cfg.runtime.choices),
        trust.folders_of_this_command(),
        trusted,
    )
    going_on = resume.restore(command)
    if place.checkpoint.name == LAST and finished is not None and not going_on.changed:
        print(f"{place.folder}: finished already, nothing is left to do")
        return finished
    estimate.check(going_on.cfg, len(going_on.content[KEY]["class_names"]))
    return experiment.train(going_on.cfg, place.folder, going_on)


def _figures(folder: Path) -> dict[str, float | str] | None:
    """The final figures of a finished run."""
    path = folder / "metrics.json"  # what a run writes last
    return read_figures(path) if path.is_file() else None
