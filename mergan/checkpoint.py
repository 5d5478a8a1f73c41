"""Checkpoint files: written in one piece, read as data, refused with one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.errors import HydraException
from lightning.pytorch.plugins.io import CheckpointIO
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from mergan import config, contents
from mergan.archive import damage, read_archive
from mergan.contents import EVALUATION, KEY
from mergan.errors import CheckpointError, ConfigError, reason
from mergan.fitting import check_fit, restore
from mergan.instantiate import instantiate
from mergan.storage import save_atomically
from mergan.strategies import Strategy
from mergan.trust import Trust, of_command

TRAINED, AVERAGED = "generator.", "ema.module."  # prefixes of the generator in a state dict
STRATEGY = "strategy."  # that of the strategy


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the target, syncs and renames; hands the trainer what has been read and checked before.

    Lightning's own goes through the temporary folder and a move, which may cross file systems, and
    does not sync. It also reads the file by itself.

    Args:
        restored: gives what the trainer restores; see mergan.fitting.for_lightning.
    """

    def __init__(self, restored: Callable[[], dict[str, Any]] | None = None) -> None:
        self._restored = restored

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save in one piece: a crash leaves the file that was there before."""
        save_atomically(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """What has been checked; the file is not read again."""
        assert self._restored is not None, "a run that goes on says what its trainer restores"
        return self._restored()

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU. No code in it is executed.

    Raises:
        CheckpointError: the file is missing, empty, cut short, changed, or not a checkpoint of this project;
            the message names a whole one that was written before it, if there is one.
    """
    if not path.exists():
        raise CheckpointError(f"checkpoint {path}: there is no such file{_earlier(path)}")
    try:
        content = read_archive(path)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}{_earlier(path)}") from error
    try:
        contents.check(content)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    return content


def _earlier(path: Path) -> str:
    """What to use in place of a broken checkpoint: the last whole one that was written before it."""
    others = (other for other in path.parent.glob("*.ckpt") if other != path and other.is_file())
    for other in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
        if not damage(other):
            return f"; the one before it is {other}"
    return ""


def run_config(content: Mapping[str, Any], path: Path, trust: Trust) -> DictConfig:
    """The configuration that stands in a checkpoint, with the types of the schema and values in range.

    Args:
        content: what `read` gave.
        path: of the checkpoint, for messages.
        trust: what it may name.

    Raises:
        CheckpointError: it names what the command does not trust, or is no configuration of a run.
    """
    plain, source = content[KEY]["config"], f"checkpoint {path}"
    trust.check(plain, source)
    try:
        cfg = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), OmegaConf.create(plain))
        assert isinstance(cfg, DictConfig)
        missing = sorted(str(key) for key in cfg if OmegaConf.is_missing(cfg, key))
        if missing:
            raise ConfigError(f"{missing[0]} is missing")
        config.check_values(cfg)
    except (ConfigError, OmegaConfBaseException, AttributeError, ValueError, TypeError) as error:
        # OmegaConf raises some of Python's own errors for values that no YAML can hold
        raise CheckpointError(f"{source}: its configuration is none of a run ({reason(error)})") from error
    return cfg


@dataclass
class TrainedGenerator:
    """The generator of a checkpoint, ready to sample from.

    Attributes:
        network: the averaged generator where the run kept one, in eval mode.
        strategy: what the run did against forgetting; it may have a say in the sampling.
        latent_dim: size of z.
        class_names: names of the data set's classes.
        seen: the classes it has learned.
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

    @torch.no_grad()
    def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1]."""
        device = next(self.network.parameters()).device
        return self.strategy.generate(self.network, z.to(device), labels.to(device)).float()


def load_generator(path: Path, trust: Trust | None = None) -> TrainedGenerator:
    """Rebuild the generator of a checkpoint from what stands in the file alone.

    Args:
        path: of the checkpoint.
        trust: which classes its configuration may name; None: those of mergan.

    Raises:
        CheckpointError: the file is unreadable, names what is not trusted, or its weights do not fit its
            configuration.
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
    # sizes that the file has no tensors for are refused before any of them is allocated
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
    """Generator and strategy with fresh weights.

    Raises:
        CheckpointError: they refuse their settings.
    """
    try:
        network: nn.Module = instantiate(cfg.network.generator, **shape)
        strategy: Strategy = instantiate(cfg.strategy)
        strategy.build(network, **shape)
    except (ConfigError, HydraException, OmegaConfBaseException, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path}: its networks cannot be built ({reason(error)})") from error
    return network, strategy


def _without_values(cfg: DictConfig, shape: Mapping[str, int], path: Path) -> tuple[nn.Module, ...]:
    """The same on the meta device; nothing where they cannot be built there, or not at all."""
    with suppress(CheckpointError), torch.device("meta"):
        return _build(cfg, shape, path)
    return ()


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state dict that belongs to the submodule of that name."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
