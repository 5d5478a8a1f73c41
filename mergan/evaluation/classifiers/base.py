"""The base class of all classifiers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mergan.config.ranges import Count, NonNegative, Positive, Share
from mergan.data import normalise

BATCH = 200  # images that a classifier looks at at a time


class Classifier(nn.Module):
    """A trunk that makes features, and one linear layer for the logits of the classes.

    Besides the keys of its YAML node, a subclass gets `channels`, `image_size` and `num_classes`.

    Args:
        trunk: images (B, C, S, S) in [-1, 1] -> features (B, num_features).
        num_features: number of features, the inputs of the linear layer.
        num_classes: number of classes.
        dropout: share of features set to 0 in training.
        learning_rate: highest learning rate in training.
        jitter: how far augmented training images are shifted, rotated and scaled, see
            mergan.evaluation.training.jitter.
        colour: how much their colours are changed, see mergan.evaluation.training.recolour.
        augment_reverse: whether the classifier of the reverse accuracy sees augmented images too, as the
            judge does. Without, it may learn a faint mark at a fixed place in the generated images.
    """

    def __init__(
        self,
        trunk: nn.Module,
        num_features: Count,
        num_classes: Count,
        dropout: Share,
        learning_rate: Positive,
        jitter: NonNegative,
        colour: NonNegative,
        augment_reverse: bool,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, num_classes)
        self.learning_rate, self.jitter, self.colour = learning_rate, jitter, colour
        self.augment_reverse = augment_reverse

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.head.weight.device

    def features(self, images: Tensor) -> Tensor:
        """images (B, C, S, S) in [-1, 1] -> penultimate features (B, num_features)."""
        return self.trunk(images)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, C, S, S) in [-1, 1] -> class logits (B, num_classes)."""
        return self.head(self.drop(self.features(images)))

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images uint8 (N, C, S, S) -> what `look_through` gives for them."""
        return self.look_through(images.split(BATCH))

    @torch.no_grad()
    def look_through(self, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """Features and classes in one pass, in eval mode.

        Args:
            batches: images uint8 (B, C, S, S) each; a batch is not kept once the next one is asked for.

        Returns:
            Penultimate features (N, num_features) and predicted classes (N,), on the CPU.
        """
        self.eval()
        parts = (normalise(part.to(self.device)) for part in batches)
        features = torch.cat([self.features(part) for part in parts])
        return features.cpu(), self.head(features).argmax(dim=1).cpu()
