"""What a command says at once, before torch is imported: what it is about to train, and where."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig

from mergan import config
from mergan.output import facts
from mergan.output.folder import RunFolder
from mergan.output.reading import read_config
from mergan.system import said
from mergan.system.errors import ConfigError
from mergan.system.text import shortened, shown

log = logging.getLogger(__name__)

FEW = 5  # tasks whose numbers of classes are listed one by one


def announce(cfg: DictConfig, folder: RunFolder, checkpoint: Path | None) -> None:
    """Log what a command is about to train; a job of a sweep has one line for it.

    Nothing is said about a run that is finished already: the command will answer with its figures, or say
    where it goes on.

    Args:
        cfg: the checked configuration of the command, its caps applied.
        folder: the run folder.
        checkpoint: what the command goes on from; None for a new run.
    """
    if folder.finished:
        return
    hydra_cfg = HydraConfig.get()
    here = Path(hydra_cfg.runtime.cwd)
    if checkpoint is None:
        told = _of_new_run(cfg, hydra_cfg.runtime.choices, here)
        if cfg.caps is not None:
            said.say(log, config.MEANINGLESS)
    else:
        told = {"going on": f"{_of_old_run(cfg, checkpoint)}from {facts.typed(checkpoint, here)}"}
    place = facts.typed(folder.path, here)
    told["run folder"] = place
    if hydra_cfg.mode is RunMode.MULTIRUN:
        log.info("%s", "; ".join(told.values()))
        return
    if (cfg.logger or {}).get("tensorboard") is not None:
        told["curves"] = f"tensorboard --logdir {place}"
    for line in facts.lines(told):
        log.info("%s", line)


def _of_new_run(cfg: DictConfig, choices: Mapping[str, Any], here: Path) -> dict[str, str]:
    """Strategy, data and stream.

    Args:
        cfg: see `announce`.
        choices: the chosen file of each group, e.g. {"strategy": "finetune"}.
        here: where the command was typed.
    """
    names = {group: shown(str(choices[group])) for group in ("strategy", "data", "experiment")
             if choices.get(group)}  # fmt: skip
    recipe = f" (experiment={names['experiment']})" if "experiment" in names else ""
    size = f", {cfg.data.image_size} pixels" if cfg.data.image_size else ""
    root = cfg.data.source.get("root")
    place = f" in {facts.typed(Path(root), here)}" if root else ""
    told = {
        "strategy": names.get("strategy", "") + recipe,
        "data": names.get("data", "") + place + size,
        "stream": stream_text(cfg),
    }
    if cfg.caps is not None:
        told["data"] = f"generated images in place of {names.get('data', 'the data')}{size}"
    return told


def stream_text(cfg: DictConfig) -> str:
    """How many tasks, and how many classes each has; as far as that is known before the data is read."""
    tasks = cfg.scenario.get("tasks")
    if cfg.data.num_classes is not None and cfg.init_from is None:
        sizes = [len(task.classes) for task in config.scenario(cfg, cfg.data.num_classes).tasks]
    elif isinstance(tasks, ListConfig) and not config.is_joined(cfg):
        sizes = [len(task) for task in tasks]
    else:
        return "its tasks follow from the classes of the data"
    return f"{facts.counted(len(sizes), 'task')} of {_sizes(sizes)}"


def _sizes(sizes: Sequence[int]) -> str:
    least, most = min(sizes), max(sizes)
    if least == most:
        return facts.counted(most, "class", "classes")
    if len(sizes) <= FEW:
        return f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]} classes"
    return f"{least} to {most} classes"


def _of_old_run(cfg: DictConfig, checkpoint: Path) -> str:
    """Strategy and data of the run that a checkpoint belongs to, as its folder says, e.g. "EWC on MNIST5k, ".

    It is empty where the folder does not say it, or where the command may change it: the checkpoint, which
    decides, is not read before torch is there.
    """
    if cfg.allow_changes:
        return ""
    try:
        saved = read_config(RunFolder(checkpoint.absolute().parent.parent).config)
        return f"{_class_of(saved['strategy'])} on {_class_of(saved['data']['source'])}, "
    except (FileNotFoundError, ConfigError, LookupError, TypeError, AttributeError):
        return ""


def _class_of(node: Mapping[str, Any]) -> str:
    """The name of the class that a node names; for a data set of torchvision that of the data set."""
    name = node.get("dataset") or node["_target_"].rpartition(".")[2]
    return shortened(shown(str(name)))
