"""The base class of all feature spaces."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class FeatureSpace(ABC):
    """What the metrics compare: a vector for each image.

    The constructor gets the arguments of its YAML node. If it asks for `judge` or `cache_dir`, it also gets
    the judge of the run and the cache folder.

    Attributes:
        per_class: maximum number of real and of generated images of a class that are compared here, for a
            space that is slow to compute; None: all of them.
    """

    per_class: int | None = None

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """images uint8 (N, C, S, S) -> features (N, D), any floating type, on the CPU.

        The features of an image must depend on that image alone, and neither use nor change the global
        random state.
        """
