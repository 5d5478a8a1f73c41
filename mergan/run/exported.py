"""The generator of a file that `mergan export` has written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mergan import config
from mergan.checkpoints import generator_file
from mergan.checkpoints.contents import STRATEGY, TRAINED, below
from mergan.checkpoints.description import Description
from mergan.checkpoints.trust import Trust, of_command
from mergan.run.rebuilding import TrainedGenerator, rebuilt
from mergan.system.errors import CheckpointError, reason


@dataclass
class ExportedGenerator(TrainedGenerator):
    """The generator of a file that `mergan export` has written.

    Attributes:
        description: what the file says of it.
    """

    description: Description


def load_exported(path: Path, trust: Trust | None = None) -> ExportedGenerator:
    """The generator of a file that `mergan export` has written; see `load_generator`."""
    tensors, own, plain = generator_file.read(path)
    (trust or of_command({}, [config.CONF])).check(plain, f"checkpoint {path}")
    shape = {"channels": own.channels, "image_size": own.image_size}
    try:
        cfg = OmegaConf.create({**plain, "embedding_dim": own.latent_dim, "data": shape})
    except (OmegaConfBaseException, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path}: its configuration is none of a generator ({reason(error)})"
        ) from error
    parts = below(tensors, TRAINED), below(tensors, STRATEGY)
    made = rebuilt(cfg, len(own.class_names), parts, path)
    generator = ExportedGenerator(*made, own.class_names, own.learned, cfg, own)
    _check_drawing(generator, (1, own.channels, own.image_size, own.image_size), path)
    return generator


def _check_drawing(generator: TrainedGenerator, shape: tuple[int, ...], path: Path) -> None:
    """Refuse a generator that does not draw images of this shape: a file may contradict itself."""
    label = torch.tensor(generator.seen[:1])
    try:
        found = tuple(generator(torch.zeros(1, generator.latent_dim), label).shape)
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint {path}: its generator cannot draw ({reason(error)})") from error
    if found != shape:
        raise CheckpointError(f"checkpoint {path}: its generator draws images {found}, described as {shape}")
