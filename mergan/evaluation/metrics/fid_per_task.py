"""Fréchet inception distance of whole tasks, as in CLoG (Zhang et al. 2024, arXiv 2406.04584)."""

from __future__ import annotations

from mergan.evaluation.metrics.fid import FID


class FIDPerTask(FID):
    """FID between all generated and all real images of the classes that a task brought.

    Every class has the same number of generated images. docs/metrics.md says which of its continual summaries
    are CLoG's figures.

    Args:
        min_references: minimum number of real features of a task.
    """

    pooled = False
    per_task = True
