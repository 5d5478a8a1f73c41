"""Feature spaces, in which the metrics compare generated with real images; one file each.

To add your own, subclass `FeatureSpace` in any importable file, set it as the `_target_` of a key under
`evaluation.spaces`, and name the key in `evaluation.features`. The key becomes the suffix of the figures.
"""

from mergan.evaluation.features.base import FeatureSpace

__all__ = ["FeatureSpace"]
