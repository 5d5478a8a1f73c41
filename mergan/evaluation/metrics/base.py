"""What every metric gets to see, and what it has to say of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class FeatureSet:
    """Features of a set of images. What is derived from them is computed once and kept.

    Args:
        features: (N, D), any floating type; kept as float64, because distances between near
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
        """Distance of every sample to its k-th nearest other sample: (N,).

        Raises:
            ValueError: there are not k others.
        """
        if not 1 <= k < len(self):
            raise ValueError(f"k={k} nearest others among {len(self)} samples")
        if k not in self._radii:
            distances = torch.cdist(self.features, self.features).fill_diagonal_(torch.inf)
            self._radii[k] = distances.topk(k, largest=False).values[:, -1]
        return self._radii[k]


class Comparison:
    """Real and generated features of the same class or classes; shared by all metrics.

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
        """Euclidean distances from real to generated features: (N, M)."""
        return torch.cdist(self.real.features, self.generated.features)

    def derived(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The value of `compute`, computed once for all metrics that ask under the same key."""
        if key not in self._derived:
            self._derived[key] = compute()
        return self._derived[key]


class Metric(ABC):
    """One figure that compares generated with real features.

    Attributes:
        higher_is_better: the direction of improvement, for the continual summaries.
        pooled: whether the figure is also taken over all classes seen together.
        min_real: the least real features it needs. With fewer the figure is absent, not wrong.
        min_generated: the least generated features it needs.
    """

    higher_is_better: bool = True
    pooled: bool = False
    min_real: int = 1
    min_generated: int = 1

    def measurable(self, comparison: Comparison) -> bool:
        """Whether there are features enough."""
        return len(comparison.real) >= self.min_real and len(comparison.generated) >= self.min_generated

    @abstractmethod
    def __call__(self, comparison: Comparison) -> float:
        """The figure; called only where `measurable` holds."""
