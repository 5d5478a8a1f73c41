"""Kernel inception distance (Binkowski et al. 2018, arXiv 1801.01401)."""

from __future__ import annotations

import warnings
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance, poly_kernel

from mergan.config.ranges import Count, Whole
from mergan.evaluation.metrics.base import Comparison, Metric

ROWS = 500  # of a kernel matrix at a time


class KID(Metric):
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, an unbiased estimate.

    For two sets of the same distribution the expectation is 0 at any size, so single values may be below 0.
    Use it per class if there are too few references for FID.

    Binkowski et al. average over random subsets. Without subsets, the average is over all pairs of the whole
    sets (Gretton et al. 2012, lemma 6), which is the limit of infinitely many subsets: their draws only add
    noise. N real and M generated features take N^2 + M^2 + N M values of the kernel, a subset of S 3 S^2.

    Args:
        subsets: number of subsets, each drawn without replacement; None: all pairs.
        subset_size: samples per subset; a smaller set is used as a whole.
        seed: seed of the draws; the global random state does not change.
    """

    higher_is_better = False
    pooled = True
    min_real = min_generated = 2

    def __init__(self, subsets: Count | None, subset_size: Annotated[int, Ge(2)], seed: Whole = 0) -> None:
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed

    def __call__(self, comparison: Comparison) -> float:
        real, generated = comparison.real.features, comparison.generated.features
        if self.subsets is not None:
            return self._over_subsets(real, generated, self.subsets)
        across = _kernel_sum(real, generated) / (len(real) * len(generated))
        return _mean_of_pairs(real) + _mean_of_pairs(generated) - 2 * across

    def _over_subsets(self, real: Tensor, generated: Tensor, subsets: int) -> float:
        size = min(self.subset_size, len(real), len(generated))
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.filterwarnings("ignore", message=".*will save all extracted features")
            torch.manual_seed(self.seed)
            kid = KernelInceptionDistance(
                nn.Identity(),
                subsets=subsets,
                subset_size=size,
                sync_on_compute=False,  # of several processes only one measures
            )
            kid.update(real, real=True)
            kid.update(generated, real=False)
            return kid.compute()[0].item()


def _mean_of_pairs(features: Tensor) -> float:
    """Mean of the kernel over all pairs of two different samples."""
    count = len(features)
    own = (features.square().sum(dim=1) / features.shape[1] + 1).pow(3).sum().item()
    return (_kernel_sum(features, features) - own) / (count * (count - 1))


def _kernel_sum(first: Tensor, second: Tensor) -> float:
    """Sum of the kernel over all pairs of a sample of `first` and one of `second`."""
    return sum(poly_kernel(rows, second).sum().item() for rows in first.split(ROWS))
