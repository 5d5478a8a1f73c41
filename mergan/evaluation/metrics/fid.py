"""Fréchet inception distance (Heusel et al. 2017, arXiv 1706.08500), by torchmetrics."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from mergan.evaluation.metrics.base import Comparison, Metric


class FID(Metric):
    """Squared Fréchet distance between two Gaussians fitted to the features, from 0 (eq. 6).

    Its bias grows as the sets get smaller: even of the same distribution a few hundred samples are
    far from 0. So it is measured only where there are `min_references` real features or more, and
    figures are comparable only for equal numbers of samples and the same features.

    Args:
        min_references: the least real features, per class and pooled.
    """

    higher_is_better = False
    pooled = True
    min_generated = 2

    def __init__(self, min_references: Annotated[int, Ge(2)]) -> None:
        self.min_real = min_references

    def __call__(self, comparison: Comparison) -> float:
        fid = FrechetInceptionDistance(_Given(comparison.real.features.shape[1]))
        fid.update(comparison.real.features, real=True)
        fid.update(comparison.generated.features, real=False)
        return fid.compute().item()


class _Given(nn.Identity):
    """Stands where torchmetrics expects a feature extractor: the features are given."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
