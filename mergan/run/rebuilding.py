"""Rebuild a generator from its configuration and its weights, whatever file they come from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from mergan.checkpoints.contents import STRATEGY, TRAINED
from mergan.checkpoints.fitting import check_fit, restore
from mergan.config.instantiate import instantiate
from mergan.run.build import complete_generator
from mergan.strategies import Strategy
from mergan.system.errors import CheckpointError, ConfigError, reason

State = Mapping[str, Tensor]


@dataclass
class TrainedGenerator:
    """A generator ready to sample from.

    Attributes:
        network: the generator in eval mode; the averaged one if the run kept an average.
        strategy: what the run did against forgetting; it may change the sampling.
        class_names: names of the data set's classes.
        seen: the classes that the generator has learned.
        config: the configuration of the run; of an exported file only `embedding_dim`, `data.channels`,
            `data.image_size`, `network.generator`, `learner` and `strategy`.
    """

    network: nn.Module
    strategy: Strategy
    class_names: list[str]
    seen: list[int]
    config: DictConfig

    @property
    def latent_dim(self) -> int:
        """Size of z."""
        return int(self.config.embedding_dim)

    @property
    def sampling(self) -> Strategy:
        """The strategy if it changes the sampling; otherwise one that does nothing and has no state."""
        return self.strategy if type(self.strategy).generate is not Strategy.generate else Strategy()

    @property
    def parts(self) -> dict[str, Any]:
        """The part of the configuration that rebuilds it, as plain values; see GeneratorFile."""
        plain = OmegaConf.to_container(self.config, resolve=True, enum_to_str=True)
        assert isinstance(plain, dict)
        return {
            "network": {"generator": plain["network"]["generator"]},
            "learner": {"_target_": plain["learner"]["_target_"]},
            "strategy": plain["strategy"] if self.sampling is self.strategy else None,
        }

    @property
    def state(self) -> dict[str, Tensor]:
        """All weights and buffers that the sampling needs, as in a checkpoint."""
        named = {TRAINED: self.network, STRATEGY: self.sampling}
        return {
            f"{prefix}{key}": value
            for prefix, part in named.items()
            for key, value in part.state_dict().items()
        }

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def cpu(self) -> Self:
        """Let it compute on the CPU; returns itself."""
        self.network.cpu()
        self.strategy.cpu()
        return self

    @torch.no_grad()
    def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1]."""
        return self.strategy.generate(self.network, z.to(self.device), labels.to(self.device)).float()


def rebuilt(
    cfg: DictConfig, num_classes: int, parts: tuple[State, State], path: Path
) -> tuple[nn.Module, Strategy]:
    """Generator and strategy with their weights, on the GPU if there is one.

    Args:
        cfg: see TrainedGenerator.
        num_classes: classes of the data set.
        parts: the state of the generator and that of the strategy.
        path: path of the file, for messages.

    Raises:
        CheckpointError: see `load_generator`.
    """
    shape = {
        "num_classes": num_classes,
        "channels": cfg.data.channels,
        "image_size": cfg.data.image_size,
    }
    # sizes that do not match the file's tensors are refused before anything is allocated
    for part, own_state in zip(_without_values(cfg, shape, path), parts, strict=False):
        check_fit(part, own_state, path)
    network, strategy = _build(cfg, shape, path)
    restore(network, parts[0], path)
    restore(strategy, parts[1], path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return network.eval().to(device), strategy.eval().to(device)


def _build(cfg: DictConfig, shape: Mapping[str, int], path: Path) -> tuple[nn.Module, Strategy]:
    """Build generator and strategy with fresh weights.

    Raises:
        CheckpointError: they refuse their settings.
    """
    try:
        network = complete_generator(
            cfg.learner, instantiate(cfg.network.generator, **shape), shape["num_classes"], cfg.embedding_dim
        )
        strategy: Strategy = Strategy() if cfg.strategy is None else instantiate(cfg.strategy)
        strategy.build(network, **shape)
    except (ConfigError, HydraException, OmegaConfBaseException, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path}: its networks cannot be built ({reason(error)})") from error
    return network, strategy


def _without_values(cfg: DictConfig, shape: Mapping[str, int], path: Path) -> tuple[nn.Module, ...]:
    """Generator and strategy on the meta device; empty if they cannot be built there."""
    with suppress(CheckpointError), torch.device("meta"):
        return _build(cfg, shape, path)
    return ()
