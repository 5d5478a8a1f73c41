"""Classifiers: the judge and that of the reverse accuracy; one network per file.

To add your own, subclass `Classifier` in any importable file, set it as the `_target_` of a key under
`evaluation.classifiers`, and choose it with `evaluation.classifier=NAME`.
"""

from mergan.evaluation.classifiers.base import Classifier

__all__ = ["Classifier"]
