"""Metrics that compare features of generated and real images; one file each.

To add your own metric, subclass `Metric` in any importable file and set it as the `_target_` of a key under
`evaluation.metrics`. The key becomes the name of the metric.
"""

from mergan.evaluation.metrics.base import Comparison, FeatureSet, Metric

__all__ = ["Comparison", "FeatureSet", "Metric"]
