"""Density and coverage (Naeem et al. 2020, arXiv 2002.09797)."""

from __future__ import annotations

from torch import Tensor

from mergan.config.ranges import Count
from mergan.evaluation.metrics.base import Comparison, Metric


class _RealBalls(Metric):
    """The base of both: determines which generated samples lie in the balls of which real samples.

    Args:
        k: the ball of a real sample reaches to its k-th nearest other real sample and is open, as in the
            code of the paper (prdc), while those of precision and recall are closed. The difference shows
            only where distances are equal. There must be more than k real samples.
    """

    def __init__(self, k: Count) -> None:
        self.k = k
        self.min_real = k + 1

    def _inside(self, comparison: Comparison) -> Tensor:
        """Whether generated sample j lies in the ball of real sample i: bool (N, M)."""
        return comparison.derived(
            ("real balls", self.k),
            lambda: comparison.distances < comparison.real.radii(self.k)[:, None],
        )


class Density(_RealBalls):
    """Average number of real balls that contain a generated sample, divided by k (section 3).

    The minimum is 0. The expectation is 1 if both sets come from the same distribution. It exceeds 1 if the
    generated samples crowd into the densest region. Outliers among the real samples have wide balls that
    inflate precision; here they have little weight.
    """

    def __call__(self, comparison: Comparison) -> float:
        inside = self._inside(comparison)
        return inside.sum().item() / (self.k * len(comparison.generated))


class Coverage(_RealBalls):
    """Share of the real samples whose ball contains a generated sample, 0 to 1 (section 3).

    For N real and M generated samples of the same distribution the expectation is 1 - (N-1)...(N-k) /
    ((N+M-1)...(N+M-k)) (lemma 2). That is 0.97 for M = N and k = 5, but 1.00 for M = 5 N. There, coverage
    cannot distinguish a generator with a tenth of the variety from a good one.

    Args:
        k: see above.
        balanced: use no more generated samples than there are real ones, as the paper does.
    """

    def __init__(self, k: Count, balanced: bool) -> None:
        super().__init__(k)
        self.balanced = balanced

    def __call__(self, comparison: Comparison) -> float:
        inside = self._inside(comparison)
        looked_at = len(comparison.real) if self.balanced else len(comparison.generated)
        return inside[:, :looked_at].any(dim=1).double().mean().item()
