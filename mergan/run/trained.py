"""A trained generator, rebuilt from a checkpoint alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from mergan import config
from mergan.checkpoints.contents import AVERAGED, EVALUATION, KEY, STRATEGY, TRAINED, below
from mergan.checkpoints.file import read, run_config
from mergan.checkpoints.fitting import check_fit, restore
from mergan.checkpoints.trust import Trust, of_command
from mergan.config.instantiate import instantiate
from mergan.run.build import complete_generator
from mergan.strategies import Strategy
from mergan.system.errors import CheckpointError, ConfigError, reason


@dataclass
class TrainedGenerator:
    """The generator of a checkpoint, ready to sample from.

    Attributes:
        network: the generator in eval mode; the averaged one if the run kept an average.
        strategy: what the run did against forgetting; it may change the sampling.
        latent_dim: size of z.
        class_names: names of the data set's classes.
        seen: the classes that the generator has learned.
        content: the whole checkpoint.
        config: the configuration of the run.
    """

    network: nn.Module
    strategy: Strategy
    latent_dim: int
    class_names: list[str]
    seen: list[int]
    content: dict[str, Any]
    config: DictConfig

    @property
    def matrices(self) -> dict[str, list[dict[int, float]]]:
        """The matrices (task x class) of the run up to the checkpoint, by name of the metric."""
        return dict(self.content["callbacks"][EVALUATION]["matrices"])

    @property
    def known(self) -> list[int]:
        """The classes that the networks knew before the run's first task."""
        return list(self.content[KEY]["known"])

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    @torch.no_grad()
    def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1]."""
        return self.strategy.generate(self.network, z.to(self.device), labels.to(self.device)).float()


def load_generator(path: Path, trust: Trust | None = None) -> TrainedGenerator:
    """Rebuild the generator of a checkpoint from the file alone.

    Args:
        path: path of the checkpoint.
        trust: which classes its configuration may name; None: those of mergan.

    Raises:
        CheckpointError: the file is unreadable, names a class that is not trusted, or its weights do not fit
            its configuration.
    """
    content = read(path)
    own, cfg = content[KEY], run_config(content, path, trust or of_command({}, [config.CONF]))
    shape = {
        "num_classes": len(own["class_names"]),
        "channels": cfg.data.channels,
        "image_size": cfg.data.image_size,
    }
    state = content["state_dict"]
    averaged = any(key.startswith(AVERAGED) for key in state)
    parts = below(state, AVERAGED if averaged else TRAINED), below(state, STRATEGY)
    # sizes that do not match the file's tensors are refused before anything is allocated
    for part, own_state in zip(_without_values(cfg, shape, path), parts, strict=False):
        check_fit(part, own_state, path)
    network, strategy = _build(cfg, shape, path)
    restore(network, parts[0], path)
    restore(strategy, parts[1], path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TrainedGenerator(
        network.eval().to(device),
        strategy.eval().to(device),
        cfg.embedding_dim,
        own["class_names"],
        own["seen"],
        content,
        cfg,
    )


def _build(cfg: DictConfig, shape: Mapping[str, int], path: Path) -> tuple[nn.Module, Strategy]:
    """Build generator and strategy with fresh weights.

    Raises:
        CheckpointError: they refuse their settings.
    """
    try:
        network = complete_generator(
            cfg.learner, instantiate(cfg.network.generator, **shape), shape["num_classes"], cfg.embedding_dim
        )
        strategy: Strategy = instantiate(cfg.strategy)
        strategy.build(network, **shape)
    except (ConfigError, HydraException, OmegaConfBaseException, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path}: its networks cannot be built ({reason(error)})") from error
    return network, strategy


def _without_values(cfg: DictConfig, shape: Mapping[str, int], path: Path) -> tuple[nn.Module, ...]:
    """Generator and strategy on the meta device; empty if they cannot be built there."""
    with suppress(CheckpointError), torch.device("meta"):
        return _build(cfg, shape, path)
    return ()
