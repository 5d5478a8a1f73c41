"""Keeps what the updates have taken with the checkpoints."""

from __future__ import annotations

from collections import Counter
from typing import Any

import lightning.pytorch as pl

from mergan.learners import ContinualLearner
from mergan.strategies import Costs
from mergan.system import processes


class CountedCosts(pl.Callback):
    """Saves the learner's `costs` with every checkpoint and restores them.

    A checkpoint of an earlier version has none. A run that goes on from it cannot know what it took, so its
    figures lack them.
    """

    def __init__(self) -> None:
        self._costs: Costs | None = Costs()  # None: not known
        self._saved: Costs | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hand the restored costs to the learner, or learn that there are none."""
        assert isinstance(pl_module, ContinualLearner)
        if trainer.ckpt_path is None or self._saved is not None:
            pl_module.costs = self._saved or Costs()
            self._costs = pl_module.costs
        else:
            self._costs = None

    def figures(self) -> dict[str, float]:
        """`updates_NAME` and `images_seen_NAME` by the name of the optimizer, of all processes together."""
        if self._costs is None:
            return {}
        count = processes.me().count
        return {
            **{f"updates_{name}": float(number) for name, number in sorted(self._costs.updates.items())},
            **{
                f"images_seen_{name}": float(number * count)
                for name, number in sorted(self._costs.images.items())
            },
        }

    def state_dict(self) -> dict[str, Any]:
        """The numbers so far; empty if they are not known."""
        if self._costs is None:
            return {}
        return {"updates": dict(self._costs.updates), "images": dict(self._costs.images)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the numbers of the resumed run."""
        if state_dict:
            self._saved = Costs(Counter(state_dict["updates"]), Counter(state_dict["images"]))
