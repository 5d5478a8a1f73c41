"""Diversity within a class."""

from __future__ import annotations

from torch import Tensor

from mergan.evaluation.metrics.base import Comparison, Metric


class Diversity(Metric):
    """Total variance of the generated features of a class, relative to that of the real ones.

    The total variance is the trace of the (unbiased) covariance, i.e. half the mean squared distance
    between two different samples. 1 is ideal; 0 means that all images are the same. Above 1 the images
    vary more than real ones, as noise or a mixture of classes does. That is not better, so read this
    metric together with precision.
    """

    min_real = min_generated = 2

    def measurable(self, comparison: Comparison) -> bool:
        """Whether there are enough features and the real ones differ from each other."""
        return super().measurable(comparison) and _total_variance(comparison.real.features) > 0

    def __call__(self, comparison: Comparison) -> float:
        return _total_variance(comparison.generated.features) / _total_variance(comparison.real.features)


def _total_variance(features: Tensor) -> float:
    return features.var(dim=0).sum().item()
