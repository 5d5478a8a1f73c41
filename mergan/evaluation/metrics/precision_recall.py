"""Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), from torch-fidelity."""

from __future__ import annotations

from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from mergan.config.ranges import Count
from mergan.evaluation.metrics.base import Comparison, Metric

BATCH = 10_000  # rows of the distance matrices computed at a time


class _PrecisionRecall(Metric):
    """The base of both: one pass of torch-fidelity computes the two.

    Args:
        k: each sample represents the closed ball that reaches to its k-th nearest other sample, as in the
            code of the paper. Both sets must have more than k samples.
    """

    key: str

    def __init__(self, k: Count) -> None:
        self.k = k
        self.min_real = self.min_generated = k + 1

    def __call__(self, comparison: Comparison) -> float:
        figures = comparison.derived(("precision and recall", self.k), lambda: self._both(comparison))
        return float(figures[self.key])

    def _both(self, comparison: Comparison) -> dict[str, float]:
        return prc_features_to_metric(
            comparison.generated.features,
            comparison.real.features,
            prc_neighborhood=self.k,
            prc_batch_size=BATCH,
            save_cpu_ram=False,
            verbose=False,
        )


class Precision(_PrecisionRecall):
    """Share of the generated samples that lie in the ball of some real sample, 0 to 1."""

    key = KEY_METRIC_PRECISION


class Recall(_PrecisionRecall):
    """Share of the real samples that lie in the ball of some generated sample, 0 to 1.

    Near 0 for a collapsed generator, because its balls have almost no extent.
    """

    key = KEY_METRIC_RECALL
