"""Measures of generated against real images, on features; one file each.

A measure of one's own is a subclass of `Metric` in any importable file, named by its `_target_` under
`evaluation.metrics`; the key it stands under becomes its name.
"""

from mergan.evaluation.metrics.base import Comparison, FeatureSet, Metric

__all__ = ["Comparison", "FeatureSet", "Metric"]
