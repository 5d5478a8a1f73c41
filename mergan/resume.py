"""Going on with a run: which configuration holds, and in which folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan import checkpoint, config
from mergan.errors import ConfigError

WHOLE = ("experiment", "debug")  # groups that may set any key


@dataclass
class Continuation:
    """How to go on.

    Attributes:
        cfg: the configuration that holds.
        folder: the run folder.
        finished: the final figures, where the run is finished and nothing is asked of it but to go on.
    """

    cfg: DictConfig
    folder: Path
    finished: dict[str, float | str] | None = None


def restore(cfg: DictConfig, overrides: Sequence[str], groups: Sequence[str], folder: Path) -> Continuation:
    """Find out how to go on with the run that `cfg.ckpt_path` belongs to.

    The checkpoint's own configuration holds, so that `ckpt_path=` alone is enough. What the command
    line repeats must agree with it, apart from settings that do not change what is learned and from
    the epochs of tasks not yet begun, or `cfg.allow_changes` must be set.

    Args:
        cfg: the configuration that the command line describes.
        overrides: the command line, e.g. ["strategy=finetune", "ckpt_path=..."].
        groups: names of the configuration groups.
        folder: the folder of a new run; used unless the checkpoint is the last one of a run folder.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the command line contradicts the checkpoint.
    """
    path = Path(cfg.ckpt_path)
    content = checkpoint.read(path)
    saved: dict[str, Any] = content[checkpoint.KEY]["config"]
    given: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    touched = _touched(overrides, groups)
    changed = [
        key for key in config.differences(saved, given) if any(config.below(key, part) for part in touched)
    ]
    # what the run has written there itself; `experiment=` touches all keys
    changed = [key for key in changed if key not in ("recovery.used", "recovery")]
    merged = OmegaConf.create(saved)
    for key in [*changed, "ckpt_path"]:
        OmegaConf.update(merged, key, OmegaConf.select(OmegaConf.create(given), key), force_add=True)
    typed = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), merged)
    assert isinstance(typed, DictConfig)
    wrong = [key for key in changed if not config.harmless(key)]
    if "epochs" in wrong and _same_so_far(saved, typed, content):
        wrong.remove("epochs")
    if wrong and not cfg.allow_changes:
        raise ConfigError(
            f"{', '.join(wrong)}: not as in the run that ckpt_path={path} belongs to; leave it out to go on "
            f"with that run, set allow_changes=true to change it, or start a new run with init_from={path}"
        )
    run = path.resolve().parent.parent
    goes_on = (
        path.name == "last.ckpt"
        and path.resolve().parent.name == "checkpoints"
        and (run / "config.yaml").is_file()
    )
    figures = run / "metrics.json"  # what a run writes last
    if goes_on and figures.is_file() and not [key for key in changed if key not in ("ckpt_path", "resume")]:
        return Continuation(typed, run, json.loads(figures.read_text(encoding="utf-8")))
    return Continuation(typed, run if goes_on else folder)


def _same_so_far(saved: Mapping[str, Any], new: DictConfig, content: Mapping[str, Any]) -> bool:
    """Whether the tasks that have begun are as long as before."""
    own = content[checkpoint.KEY]
    classes, known = len(own["class_names"]), tuple(own["known"])
    old = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), OmegaConf.create(dict(saved)))
    assert isinstance(old, DictConfig)
    before, after = (config.scenario(cfg, classes, known).tasks for cfg in (old, new))
    begun = [task.index for task in before if task.first_epoch <= content["epoch"]]
    return len(before) == len(after) and all(before[index] == after[index] for index in begun)


def _touched(overrides: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Keys that the command line speaks of; "" for all of them."""
    keys = [override.split("=", 1)[0].lstrip("+~").split("@", 1)[0] for override in overrides]
    return ["" if key in WHOLE and key in groups else key for key in keys]
