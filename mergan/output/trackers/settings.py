"""The configuration of a run as the list of settings that trackers compare runs by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mergan.config.comparison import OF_COMMAND

TARGET = "._target_"
FIRST = ("strategy", "seed", "lr", "lr_d", "batch_size", "embedding_dim", "epochs", "steps_per_epoch",
         "learner", "network", "objective", "data", "scenario")  # fmt: skip
# how a run is started and watched, not what it is
LEFT_OUT = (*OF_COMMAND, "init_from", "logger", "callbacks", "recovery.used", "data.download",
            "data.source.download")  # fmt: skip


def flattened(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted key, those first by which runs are mostly told apart.

    A part is its class: `strategy` is `JointRetrain`, and the full name for a class of another package.
    """
    found = dict(_settings(config))
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    return dict(sorted(found.items(), key=lambda item: ranks.get(item[0].split(".")[0], len(FIRST))))


def _settings(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if key in LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            yield from _settings(value, f"{key}.")
        elif key.endswith(TARGET):
            own = str(value).startswith(("mergan.", "lightning."))
            yield key.removesuffix(TARGET), str(value).rpartition(".")[2] if own else value
        else:
            yield key, value
