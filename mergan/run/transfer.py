"""Start a new stream from the trained networks of a checkpoint (`init_from`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mergan.checkpoints.contents import AVERAGED, KEY, STRATEGY, TRAINED, below
from mergan.checkpoints.fitting import misfit, restore
from mergan.config import differences
from mergan.learners import ContinualLearner
from mergan.networks.layers import ClassLinear, ClassTable
from mergan.system.errors import CheckpointError, ConfigError, reason
from mergan.system.text import shown


def labels_here(
    content: Mapping[str, Any], path: Path, network: Mapping[str, Any], class_names: Sequence[str]
) -> Tensor:
    """Check that the networks of a checkpoint can be reused.

    Args:
        content: the checkpoint, as returned by `read`.
        path: path of the checkpoint, for messages.
        network: the configuration of the present networks.
        class_names: names of the data set's classes.

    Returns:
        (n,), for each of the checkpoint's n classes its label in the present data set.

    Raises:
        CheckpointError: another network, or a class that the data set lacks.
    """
    own = content[KEY]
    old_network = own["config"].get("network")
    if not isinstance(old_network, Mapping):
        raise CheckpointError(f"init_from={path}: its configuration names no network")
    changed = differences(old_network, network)
    if changed:
        raise CheckpointError(
            f"init_from={path}: of another network, network.{shown(changed[0])} differs; "
            f"use network={shown(str(old_network.get('name', '...')))} with its settings"
        )
    missing = [name for name in own["class_names"] if name not in class_names]
    if missing:
        raise CheckpointError(
            f"init_from={path}: the data set has no class {shown(missing[0])!r}, which it was trained on"
        )
    return torch.tensor([list(class_names).index(name) for name in own["class_names"]])


def transfer(learner: ContinualLearner, content: Mapping[str, Any], path: Path, rows: Tensor) -> None:
    """Start a learner from the trained networks of a checkpoint (`init_from`).

    Rows that belong to single classes are copied by class name, so that the number of classes may grow. The
    snapshot becomes the trained generator. The strategy takes over what it can use; it may differ from the
    checkpoint's strategy.

    Args:
        learner: a freshly built learner.
        content: the checkpoint, as returned by `read`.
        path: path of the checkpoint, for messages.
        rows: see `labels_here`.

    Raises:
        CheckpointError: another network, or a run that the strategy cannot continue.
    """
    restore(learner, _merged(learner, content["state_dict"], rows, path), path)
    learner.take_snapshot()
    try:
        learner.strategy.inherit(below(content["state_dict"], STRATEGY), rows)
        learner.strategy.check_state()
    except ConfigError as error:
        raise CheckpointError(f"init_from={path}: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:  # tensors of unexpected form
        raise CheckpointError(
            f"init_from={path}: the state of its strategy is not one that a run leaves ({reason(error)})"
        ) from error


def _merged(module: nn.Module, old: Mapping[str, Tensor], rows: Tensor, path: Path) -> dict[str, Tensor]:
    """The module's own state, with the weights of its networks taken from `old`.

    If the old run kept an average of the generator, that average is its trained generator. It becomes both
    the generator and the start of a new average.
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
        if source is None and name.removeprefix("ema.") == "n_averaged":
            continue  # the old run kept no average
        expected = fresh[rows] if key in by_class else fresh
        wrong = misfit({name: expected}, {} if source is None else {name: source})
        if wrong or source is None:
            raise CheckpointError(f"init_from={path}: of another network ({wrong})")
        state[key] = source
        if key in by_class:
            state[key] = fresh.clone()
            state[key][rows] = source
    return state


def _class_keys(module: nn.Module) -> set[str]:
    """State-dict keys whose first dimension counts classes."""
    keys: set[str] = set()
    for name, part in module.named_modules():
        if isinstance(part, (ClassTable, ClassLinear)):
            # spectral norm stores the weight under the second name, and a vector with one entry per row
            names = ("weight", "bias", "parametrizations.weight.original", "parametrizations.weight.0._u")
            keys |= {f"{name}.{key}" for key in names}
    return keys
