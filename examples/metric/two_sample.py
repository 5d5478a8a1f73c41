"""A metric: can a nearest neighbour tell generated from real images?"""

from __future__ import annotations

import torch

from mergan.evaluation.metrics import Comparison, Metric


class TwoSample(Metric):
    """Accuracy of a nearest-neighbour two-sample test (Lopez-Paz & Oquab 2017, arXiv 1610.06545).

    0.5 where real and generated features cannot be told apart, 1 where they can; below 0.5 where generated
    ones copy real ones. Both sets are cut to the same size.
    """

    higher_is_better = False
    min_real = min_generated = 2

    def __call__(self, comparison: Comparison) -> float:
        count = min(len(comparison.real), len(comparison.generated))
        features = torch.cat([comparison.real.features[:count], comparison.generated.features[:count]])
        is_real = torch.arange(2 * count) < count
        nearest = torch.cdist(features, features).fill_diagonal_(torch.inf).argmin(dim=1)
        return (is_real[nearest] == is_real).double().mean().item()
