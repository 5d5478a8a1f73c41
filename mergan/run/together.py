"""Lightning's side of a run with several processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from mergan.networks.shared_moments import share_moments
from mergan.system import processes

Value = TypeVar("Value")


class Together(DDPStrategy):
    """Several processes without DistributedDataParallel around the learner.

    A step of a GAN differentiates parts of several networks, some twice, and its losses do not come from one
    `forward`, which is what the wrapper builds on. Here the learner averages the gradients before each step
    of an optimizer (`ContinualLearner.minimise`). The processes have been started and connected before.
    """

    strategy_name = "together"

    def __init__(self) -> None:
        super().__init__(cluster_environment=TorchElasticEnvironment(), timeout=processes.WORK)

    def setup(self, trainer: pl.Trainer) -> None:
        # In every step, Lightning asks the first process for a signal and reads the answer back from the
        # device. Here each process has its own signal (mergan.callbacks.interruption).
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        super().setup(trainer)

    def configure_ddp(self) -> None:
        """Start with the same weights everywhere, and with batch norms that see the whole batch."""
        assert isinstance(self.model, pl.LightningModule)
        share_moments(self.model)
        processes.spread(self.model)

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        processes.wait()

    def reduce(self, *args: Any, **kwargs: Any) -> Any:
        return processes.meet(lambda: super(Together, self).reduce(*args, **kwargs))

    def broadcast(self, obj: Value, src: int = 0) -> Value:
        return processes.from_first(lambda: obj)


def trainer_arguments(node: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning's Trainer gets in place of `trainer.strategy=ddp`: the processes that have joined."""
    me = processes.me()
    if me.count == 1:
        return {"strategy": "auto", "devices": 1, "num_nodes": 1} if node.get("strategy") == "ddp" else {}
    return {
        "strategy": Together(),
        "devices": me.local_count,
        "num_nodes": me.count // me.local_count,
        "use_distributed_sampler": False,
    }
