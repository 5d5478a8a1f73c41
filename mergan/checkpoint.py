"""Checkpoint files: written in one piece, read without executing code, refused with one line."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mergan.errors import CheckpointError, reason
from mergan.storage import load_tensors, save_atomically
from mergan.strategies import Strategy

KEY = "mergan"  # what this project adds to Lightning's checkpoint
FORMAT = 1
TRAINED, AVERAGED = "generator.", "ema.module."  # prefixes of the generator in a state dict
STRATEGY = "strategy."  # that of the strategy


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the target, syncs and renames; loads with `weights_only=True`.

    Lightning's own goes through the temporary folder and a move, which may cross file systems, and
    does not sync.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save in one piece: a crash leaves the file that was there before."""
        save_atomically(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """Load a checkpoint of this project; see `read`."""
        return read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU. No code in it is executed.

    Raises:
        CheckpointError: the file is missing, empty, cut short, changed, or not a checkpoint of this project;
            the message names a whole one that was written before it, if there is one.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path}: there is no such file{_earlier(path)}")
    damage = _damage(path)
    if damage:
        raise CheckpointError(f"checkpoint {path}: {damage}{_earlier(path)}")
    try:
        content = load_tensors(path)
    except Exception as error:  # torch raises many kinds for files that are none of its own
        if "weights_only" in str(error):
            detail = "it holds more than tensors and plain values, which could run code; it was not loaded"
        else:
            detail = f"not a readable checkpoint ({reason(error)})"
        raise CheckpointError(f"checkpoint {path}: {detail}{_earlier(path)}") from error
    own = content.get(KEY) if isinstance(content, dict) else None
    if not isinstance(own, dict) or "state_dict" not in content:
        raise CheckpointError(f"checkpoint {path}: not a checkpoint that mergan wrote")
    if own.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: written in format {own.get('format')}, this version reads {FORMAT}"
        )
    return content


def _damage(path: Path) -> str:
    """What is wrong with the file as an archive, "" if it is whole.

    torch.load does not look at the checksums that torch.save writes.
    """
    if path.stat().st_size == 0:
        return "the file is empty"
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # a name that is not UTF-8, an unknown compression: zipfile raises many kinds
        return f"not a readable checkpoint ({reason(error)})"
    return "" if broken is None else f"the file is damaged ({broken} does not match its checksum)"


def _earlier(path: Path) -> str:
    """What to use in place of a broken checkpoint: the last whole one that was written before it."""
    others = (other for other in path.parent.glob("*.ckpt") if other != path and other.is_file())
    for other in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
        if not _damage(other):
            return f"; the one before it is {other}"
    return ""


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
        state = self.content["callbacks"]["ContinualEvaluation"]
        return dict(state["matrices"]) if "matrices" in state else {"accuracy": list(state["rows"])}

    @property
    def known(self) -> list[int]:
        """The classes that the networks knew before the run's first task."""
        return list(self.content[KEY]["known"])

    @torch.no_grad()
    def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1]."""
        device = next(self.network.parameters()).device
        return self.strategy.generate(self.network, z.to(device), labels.to(device)).float()


def load_generator(path: Path) -> TrainedGenerator:
    """Rebuild the generator of a checkpoint from what stands in the file alone.

    Raises:
        CheckpointError: the file is unreadable, or its weights do not fit its configuration.
    """
    content = read(path)
    own = content[KEY]
    cfg = OmegaConf.create(own["config"])
    shape = {
        "num_classes": len(own["class_names"]),
        "channels": cfg.data.channels,
        "image_size": cfg.data.image_size,
    }
    network = hydra.utils.instantiate(cfg.network.generator, **shape)
    strategy: Strategy = hydra.utils.instantiate(cfg.strategy)
    strategy.build(network, **shape)
    state = content["state_dict"]
    averaged = any(key.startswith(AVERAGED) for key in state)
    prefix = AVERAGED if averaged else TRAINED
    restore(network, below(state, prefix), path)
    restore(strategy, below(state, STRATEGY), path)
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


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state dict that belongs to the submodule of that name."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def restore(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load `state` into `module`, key by key.

    Raises:
        CheckpointError: the state is of another network.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(f"checkpoint {path}: of another network ({detail[:120]})") from error
