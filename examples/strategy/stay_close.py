"""A strategy: the weights of the generator stay close to those that it had after the last task."""

from __future__ import annotations

from torch import Tensor

from mergan.strategies import Context, Drawn, Strategy


class StayClose(Strategy):
    """Add weight * ||theta - theta_snapshot||^2 to the generator's loss, from the second task on.

    Args:
        weight: factor on the squared distance.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        if not context.task.past:
            return {}
        pairs = zip(context.generator.parameters(), context.snapshot.parameters(), strict=True)
        return {"stay_close": self.weight * sum((new - old).square().sum() for new, old in pairs)}
