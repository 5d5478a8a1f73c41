"""Checkpoint files: written in one piece, read without executing code, refused with one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mergan.config import differences
from mergan.errors import CheckpointError, ConfigError, reason
from mergan.networks.layers import ClassTable
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
    """The content of a checkpoint, on the CPU.

    Raises:
        CheckpointError: the file is missing, empty, broken or not a checkpoint of this project.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path}: there is no such file")
    if path.stat().st_size == 0:
        raise CheckpointError(f"checkpoint {path}: the file is empty, use an earlier one")
    try:
        content = load_tensors(path)
    except Exception as error:  # torch raises many kinds for files that are none of its own
        raise CheckpointError(f"checkpoint {path}: not a readable checkpoint ({reason(error)})") from error
    if not isinstance(content, dict) or KEY not in content or "state_dict" not in content:
        raise CheckpointError(f"checkpoint {path}: not a checkpoint that mergan wrote")
    if content[KEY].get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: written in format {content[KEY].get('format')}, this version reads {FORMAT}"
        )
    return content


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
    restore(network, _below(state, prefix), path)
    restore(strategy, _below(state, STRATEGY), path)
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


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
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


def transfer(
    module: nn.Module,
    content: Mapping[str, Any],
    path: Path,
    network: Mapping[str, Any],
    class_names: Sequence[str],
) -> tuple[int, ...]:
    """Start `module` (an ACGAN) from the trained networks of a checkpoint (`init_from`).

    Rows that belong to single classes are carried over by the name of the class, so that the number
    of classes may grow. The snapshot becomes the trained generator. The strategy, which may be another
    one than that of the checkpoint, takes over what it can use.

    Args:
        module: the freshly built module.
        content: what `read` gave.
        path: of the checkpoint, for messages.
        network: the configuration of the networks.
        class_names: names of the data set's classes.

    Returns:
        The classes the networks know, as labels of the present data set.

    Raises:
        CheckpointError: another network, a class that the data set lacks, or a run that the strategy
            cannot go on from.
    """
    own = content[KEY]
    changed = differences(own["config"]["network"], network)
    if changed:
        raise CheckpointError(
            f"init_from={path}: of another network, network.{changed[0]} differs; "
            f"use network={own['config']['network'].get('name', '...')} with its settings"
        )
    missing = [name for name in own["class_names"] if name not in class_names]
    if missing:
        raise CheckpointError(
            f"init_from={path}: the data set has no class {missing[0]!r}, which it was trained on"
        )
    rows = torch.tensor([list(class_names).index(name) for name in own["class_names"]])
    state = _merged(module, content["state_dict"], rows)
    restore(module, state, path)
    module.snapshot.load_state_dict(module.sampler.state_dict())  # type: ignore[union-attr,operator]
    try:
        module.strategy.inherit(_below(content["state_dict"], STRATEGY), rows)  # type: ignore[union-attr,operator]
    except ConfigError as error:
        raise CheckpointError(f"init_from={path}: {error}") from error
    return tuple(int(rows[label]) for label in own["seen"])


def _merged(module: nn.Module, old: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The module's own state with everything of the networks in `old` that it can take over.

    The averaged generator, where the old run kept one, is its trained generator: it becomes both the
    generator and the start of a new average.
    """
    averaged = any(key.startswith(AVERAGED) for key in old)
    trained = AVERAGED if averaged else TRAINED
    by_class = _class_keys(module)
    state = dict(module.state_dict())
    for key, fresh in state.items():
        if key.startswith(STRATEGY):
            continue  # see Strategy.inherit
        name = key
        for prefix in (AVERAGED, TRAINED):
            name = name.replace(prefix, trained, 1) if key.startswith(prefix) else name
        source = old.get(name)
        if source is None:
            continue
        state[key] = source
        if key in by_class:
            state[key] = fresh.clone()
            state[key][rows] = source
    return state


def _class_keys(module: nn.Module) -> set[str]:
    """State-dict keys whose first dimension counts classes."""
    keys: set[str] = set()
    for name, part in module.named_modules():
        if isinstance(part, ClassTable) or name.endswith("discriminator.classify"):
            # with spectral norm the weight goes by its second name, beside a vector with one entry per row
            names = ("weight", "bias", "parametrizations.weight.original", "parametrizations.weight.0._u")
            keys |= {f"{name}.{key}" for key in names}
    return keys
