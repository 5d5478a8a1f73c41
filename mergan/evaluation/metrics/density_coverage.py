"""Density and coverage (Naeem et al. 2020, arXiv 2002.09797)."""

from __future__ import annotations

from torch import Tensor

from mergan.config.ranges import Count
from mergan.evaluation.metrics.base import Comparison, Metric


class _RealBalls(Metric):
    """What both share: which generated samples lie in the balls of which real ones.

    Args:
        k: the ball of a real sample reaches to its k-th nearest other real sample and is closed, as
            those of precision and recall are. There must be more than k real samples.
    """

    def __init__(self, k: Count) -> None:
        self.k = k
        self.min_real = k + 1

    def _inside(self, comparison: Comparison) -> Tensor:
        """Whether generated sample j lies in the ball of real sample i: bool (N, M)."""
        return comparison.derived(
            ("real balls", self.k),
            lambda: comparison.distances <= comparison.real.radii(self.k)[:, None],
        )


class Density(_RealBalls):
    """In how many real balls a generated sample lies on average, divided by k (section 3).

    From 0; its expectation is 1 where both sets come from the same distribution, and it exceeds 1
    where the generated samples crowd into the densest region. Outliers among the real samples, whose
    wide balls inflate precision, weigh little here.
    """

    def __call__(self, comparison: Comparison) -> float:
        inside = self._inside(comparison)
        return inside.sum().item() / (self.k * len(comparison.generated))


class Coverage(_RealBalls):
    """Share of the real samples whose ball holds a generated sample, 0 to 1 (section 3).

    Of N real and M generated samples of the same distribution it expects 1 - (N-1)...(N-k) /
    ((N+M-1)...(N+M-k)) (lemma 2): 0.97 for M = N and k = 5, but 1.00 for M = 5 N, where it can no
    longer tell a generator with a tenth of the variety from a good one.

    Args:
        k: see above.
        balanced: look at no more generated samples than there are real ones, as the paper does.
    """

    def __init__(self, k: Count, balanced: bool) -> None:
        super().__init__(k)
        self.balanced = balanced

    def __call__(self, comparison: Comparison) -> float:
        inside = self._inside(comparison)
        looked_at = len(comparison.real) if self.balanced else len(comparison.generated)
        return inside[:, :looked_at].any(dim=1).double().mean().item()
