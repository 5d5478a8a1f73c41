"""The base class of all feature spaces."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class FeatureSpace(ABC):
    """What the metrics compare: a vector for each image.

    The constructor gets the arguments of its YAML node. If it asks for `judge` or `cache_dir`, it also gets
    the judge of the run and the cache folder.

    Attributes:
        device: the device of the run, where a slow space should compute.
        per_class: maximum number of real and of generated images of a class that are compared here, for a
            space that is slow to compute; None: all of them.
    """

    per_class: int | None = None
    device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Set the device of the run. A space with a network moves it there."""
        self.device = device

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """images uint8 (N, C, S, S) -> features (N, D), any floating type, on the CPU.

        The features of an image must depend on that image alone, and neither use nor change the global
        random state.
        """
