"""The features of the judge."""

from __future__ import annotations

from torch import Tensor

from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.features.base import FeatureSpace


class JudgeFeatures(FeatureSpace):
    """The penultimate layer of the judge: what tells the classes of this data set apart, and nothing else.

    Args:
        judge: the classifier of the run.
    """

    def __init__(self, judge: Classifier) -> None:
        self.judge = judge

    def __call__(self, images: Tensor) -> Tensor:
        return self.judge.look(images)[0]
