"""The base class of all metrics, and the features that they compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class FeatureSet:
    """Features of a set of images. Derived values are computed once and cached.

    Args:
        features: (N, D), any floating type. They are stored as float64, because distances between near
            neighbours and the covariances of FID lose digits in float32.
    """

    def __init__(self, features: Tensor) -> None:
        if features.ndim != 2:
            raise ValueError(f"features of shape {tuple(features.shape)}, expected (N, D)")
        self.features = features.detach().cpu().double()
        self._radii: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.features)

    def radii(self, k: int) -> Tensor:
        """Distance (N,) of every sample to its k-th nearest other sample.

        Raises:
            ValueError: k is below 1, or there are fewer than k other samples.
        """
        if not 1 <= k < len(self):
            raise ValueError(f"k={k} nearest others among {len(self)} samples")
        if k not in self._radii:
            distances = torch.cdist(self.features, self.features).fill_diagonal_(torch.inf)
            self._radii[k] = distances.topk(k, largest=False).values[:, -1]
        return self._radii[k]


class Comparison:
    """Real and generated features of the same class or classes, shared by all metrics.

    Args:
        real: features of real images, N of them.
        generated: features of generated images, M of them.
    """

    def __init__(self, real: FeatureSet, generated: FeatureSet) -> None:
        self.real = real
        self.generated = generated
        self._derived: dict[Hashable, Any] = {}

    @cached_property
    def distances(self) -> Tensor:
        """Euclidean distances (N, M) from real to generated features."""
        return torch.cdist(self.real.features, self.generated.features)

    def derived(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The result of `compute`, computed once for all metrics that use the same key."""
        if key not in self._derived:
            self._derived[key] = compute()
        return self._derived[key]


class Metric(ABC):
    """One number that compares generated with real features.

    Attributes:
        higher_is_better: the direction of improvement, for the continual summaries.
        pooled: whether the metric is also computed over all classes seen together.
        per_task: whether it compares all images of a task's classes at once, in place of those of a class.
            Its matrix has a column per task.
        min_real: minimum number of real features. With fewer, the value is absent instead of wrong.
        min_generated: minimum number of generated features, see also `generated_needed`.
    """

    higher_is_better: bool = True
    pooled: bool = False
    per_task: bool = False
    min_real: int = 1
    min_generated: int = 1

    def generated_needed(self, dimensions: int) -> int:
        """Minimum number of generated features of so many dimensions."""
        return self.min_generated

    def measurable(self, comparison: Comparison) -> bool:
        """Whether there are enough features."""
        needed = self.generated_needed(comparison.generated.features.shape[1])
        return len(comparison.real) >= self.min_real and len(comparison.generated) >= needed

    @abstractmethod
    def __call__(self, comparison: Comparison) -> float:
        """Compute the metric; called only if `measurable` is true."""
