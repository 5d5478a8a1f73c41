"""A training of a table: its job, and its settings as they are published."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from mergan import config
from mergan.config.comparison import PATHS
from mergan.output.folder import RunFolder
from mergan.output.reading import read_config
from mergan.reporting.runs import read_run
from mergan.reproducing.jobs import Job
from mergan.run import automatic
from mergan.system.errors import ConfigError


def training(folder: Path, overrides: tuple[str, ...]) -> Job:
    """The job of a training; refused if its settings are wrong, or the folder holds another run.

    Raises:
        ConfigError: see `Table.stages`.
    """
    run = RunFolder(folder)
    wanted = config.compose(*overrides)
    config.check(wanted)
    if run.finished:
        read_run(folder)  # a file that cannot be read is reported before hours of training
    if os.path.lexists(run.config):
        _check_unchanged(folder, wanted)
    own = (f"hydra.run.dir={folder}", "resume=auto")
    return Job("mergan.train", (*overrides, *own), folder, run.figures)


def _check_unchanged(folder: Path, wanted: Any) -> None:
    """Refuse a run made with other settings than its row has now: its figures would be taken for new ones."""
    then = read_config(RunFolder(folder).config)
    wanted = automatic.kept(wanted, then)  # what the images decide has not changed with the settings
    now: Any = OmegaConf.to_container(config.apply_caps(wanted), resolve=True, enum_to_str=True)
    changed = [key for key in config.differences(then, now) if not config.harmless(key)]
    if changed:
        raise ConfigError(
            f"{folder}: was trained with another {changed[0]}; remove that folder or name another out="
        )


def without_places(settings: Mapping[str, Any]) -> str:
    """The configuration as YAML, with the default of every key that names a folder or a file."""
    content = json.loads(json.dumps(settings))
    default: Any = OmegaConf.to_container(config.compose(), resolve=True, enum_to_str=True)
    for key in PATHS:
        parent, _, name = key.rpartition(".")
        node, usual = content, default
        for part in parent.split(".") if parent else []:
            node, usual = node.get(part) or {}, usual.get(part) or {}
        if name in node:
            node[name] = usual.get(name)
    return yaml.safe_dump(content, sort_keys=False)
