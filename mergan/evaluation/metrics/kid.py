"""Kernel inception distance (Binkowski et al. 2018, arXiv 1801.01401), computed by torchmetrics."""

from __future__ import annotations

import warnings
from typing import Annotated

import torch
from annotated_types import Ge
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

from mergan.config.ranges import Count, Whole
from mergan.evaluation.metrics.base import Comparison, Metric


class KID(Metric):
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, averaged over random subsets.

    The estimator is unbiased: for two sets of the same distribution the expectation is 0 at any size, so
    single values may be below 0. Use it per class if there are too few references for FID.

    Args:
        subsets: number of subsets, each drawn without replacement.
        subset_size: samples per subset; a smaller set is used as a whole.
        seed: seed of the draws; the global random state does not change.
    """

    higher_is_better = False
    pooled = True
    min_real = min_generated = 2

    def __init__(self, subsets: Count, subset_size: Annotated[int, Ge(2)], seed: Whole = 0) -> None:
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed

    def __call__(self, comparison: Comparison) -> float:
        size = min(self.subset_size, len(comparison.real), len(comparison.generated))
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.filterwarnings("ignore", message=".*will save all extracted features")
            torch.manual_seed(self.seed)
            kid = KernelInceptionDistance(
                nn.Identity(),
                subsets=self.subsets,
                subset_size=size,
                sync_on_compute=False,  # of several processes only one measures
            )
            kid.update(comparison.real.features, real=True)
            kid.update(comparison.generated.features, real=False)
            return kid.compute()[0].item()
