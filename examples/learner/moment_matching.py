"""A learner: a conditional generative moment matching network (Li et al. 2015, arXiv 1502.02761)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mergan.learners import ContinualLearner
from mergan.learners.updates import Trained
from mergan.scenarios.base import Scenario
from mergan.strategies import Context, Drawn, Strategy


class MomentMatching(ContinualLearner):
    """A generator without an adversary: it minimises the squared maximum mean discrepancy to the data.

        MMD^2 = E k(x, x') - 2 E k(x, y) + E k(y, y'),   y = G(z, c)

    over pictures x and y of the same class, with the Gaussian kernels of several widths.

    Args:
        generator, strategy, scenario: see ContinualLearner.
        widths: standard deviations of the kernels, per value of a picture.
        **shared: the other arguments of ContinualLearner.
    """

    def __init__(
        self,
        generator: nn.Module,
        strategy: Strategy,
        scenario: Scenario,
        *,
        widths: list[float],
        **shared: Any,
    ) -> None:
        super().__init__(generator, strategy, scenario, **shared)
        self.widths = list(widths)

    def trained(self) -> dict[str, Trained]:
        return {"g": Trained([self.generator], self.lr)}

    def step(self, images: Tensor, labels: Tensor, context: Context) -> dict[str, Tensor]:
        batch = self.strategy.training_batch(images, labels, context)
        z = context.latent(len(batch.labels))
        drawn = Drawn(z, batch.labels, context.draw(z, batch.labels))
        loss = self._discrepancy(batch.images, drawn.images, batch.labels)
        terms = {"g/discrepancy": loss}
        for name, term in self.strategy.generator_terms(context, drawn).items():
            terms[f"g/{name}"] = term
            loss = loss + term
        return terms | self.minimise("g", loss)

    def _discrepancy(self, real: Tensor, made: Tensor, labels: Tensor) -> Tensor:
        """MMD^2 of pictures (B, C, S, S) with the same labels (B,)."""
        same = (labels[:, None] == labels).float()
        kernels = (
            (self._kernel(one, other) * same).sum() / same.sum()
            for one, other in ((real, real), (real, made), (made, made))
        )
        within, between, own = kernels
        return within - 2 * between + own

    def _kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """Sum of Gaussian kernels: (B, B)."""
        distances = (one.flatten(1)[:, None] - other.flatten(1)).square().mean(dim=2)
        return torch.stack([(-distances / (2 * width**2)).exp() for width in self.widths]).sum(dim=0)
