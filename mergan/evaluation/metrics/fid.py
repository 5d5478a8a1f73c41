"""Fréchet inception distance (Heusel et al. 2017, arXiv 1706.08500), computed by torchmetrics."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from mergan.evaluation.metrics.base import Comparison, Metric


class FID(Metric):
    """Squared Fréchet distance between two Gaussians fitted to the features; the minimum is 0 (eq. 6).

    The bias grows as the sets get smaller: with a few hundred samples FID is far from 0 even for the same
    distribution. So it is measured only with at least `min_references` real features, and with at least as
    many generated ones as they have dimensions: with fewer, the Gaussian of the generated features is flat in
    some direction. Compare values only for equal numbers of samples and the same features.

    Args:
        min_references: minimum number of real features, per class and pooled.
    """

    higher_is_better = False
    pooled = True
    min_generated = 2

    def __init__(self, min_references: Annotated[int, Ge(2)]) -> None:
        self.min_real = min_references

    def generated_needed(self, dimensions: int) -> int:
        """As many as dimensions, as 2,048 are for Inception-v3."""
        return max(self.min_generated, dimensions)

    def __call__(self, comparison: Comparison) -> float:
        given = _Given(comparison.real.features.shape[1])
        # of several processes only one measures, so it must not wait for the others
        fid = FrechetInceptionDistance(given, sync_on_compute=False)
        fid.update(comparison.real.features, real=True)
        fid.update(comparison.generated.features, real=False)
        return fid.compute().item()


class _Given(nn.Identity):
    """Replaces the feature extractor of torchmetrics, because the features are given."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
