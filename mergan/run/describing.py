"""Describe the generator of a run: what it is, what was measured, how it was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan.checkpoints.contents import KEY
from mergan.checkpoints.description import Description
from mergan.config.instantiate import instantiate
from mergan.data.source import Source
from mergan.output.folder import RunFolder
from mergan.output.reading import read_figures
from mergan.run.exported import ExportedGenerator
from mergan.run.rebuilding import TrainedGenerator
from mergan.run.trained import CheckpointGenerator

# Settings that tell how a generator was trained; a part of the configuration stands for all its values. None
# of them names a folder of the machine.
ESSENTIAL = (
    *("strategy", "learner", "objective", "augmentation", "network", "scenario"),
    *("epochs", "steps_per_epoch", "batch_size", "embedding_dim", "lr", "lr_d", "seed", "trainer.precision"),
)


def describe(generator: TrainedGenerator, path: Path) -> Description:
    """The description of a generator.

    Args:
        generator: the generator.
        path: the checkpoint that it comes from. If it is the last one of a finished run, the figures are
            those of the run; otherwise they are the means over the classes learned up to the checkpoint.
    """
    if isinstance(generator, ExportedGenerator):
        return generator.description
    assert isinstance(generator, CheckpointGenerator)
    content, cfg = generator.content, generator.config
    source: Source = instantiate(cfg.data.source)
    return Description(
        version=content[KEY]["version"],
        class_names=generator.class_names,
        learned=generator.seen,
        latent_dim=generator.latent_dim,
        channels=cfg.data.channels,
        image_size=cfg.data.image_size,
        data=source.name,
        licence=source.licence,
        training={
            "generator steps": content["global_step"],
            "epochs so far": content["epoch"] + 1,
            "tasks so far": len(generator.matrices["accuracy"]),
            **({} if cfg.caps is None else {"debug": "smoke"}),
            **_settings(cfg),
        },
        figures=_figures(generator, path),
    )


def _figures(generator: CheckpointGenerator, path: Path) -> dict[str, float | str]:
    run = RunFolder.holding(path)
    if run is not None and run.finished:
        return read_figures(run.figures)
    matrices = generator.matrices | generator.per_task
    last = {name: rows[-1] for name, rows in matrices.items() if rows and rows[-1]}
    return {name: sum(row.values()) / len(row) for name, row in last.items()}


def _settings(cfg: DictConfig) -> dict[str, str | int | float | bool]:
    """The essential settings by their full key; null is left out, and a list is written as JSON."""
    found: dict[str, Any] = {}
    waiting = [(key, OmegaConf.select(cfg, key, default=None)) for key in reversed(ESSENTIAL)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, DictConfig):
            waiting += [(f"{key}.{name}", value[name]) for name in reversed(list(value))]
        elif value is not None:
            plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            found[key] = plain if isinstance(plain, bool | int | float | str) else json.dumps(plain)
    return found
