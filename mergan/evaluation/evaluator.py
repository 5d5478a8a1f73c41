"""What is measured of a generator, by a classifier of real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mergan.data import denormalise
from mergan.data.image_set import ImageSet
from mergan.evaluation.classifier import Classifier, train_classifier

Generate = Callable[[Tensor, Tensor], Tensor]  # z (B, latent_dim), labels (B,) -> images in [-1, 1]
CHUNK = 200  # images made at a time


def sample_class(generate: Generate, label: int, count: int, latent_dim: int, rng: torch.Generator) -> Tensor:
    """`count` images of one class, uint8 (count, C, S, S).

    They are made in batches of one class, so that a generator with batch statistics is measured the
    way it is used.
    """
    images = []
    for start in range(0, count, CHUNK):
        z = torch.randn(min(CHUNK, count - start), latent_dim, generator=rng)
        images.append(denormalise(generate(z, torch.full((len(z),), label))).cpu())
    return torch.cat(images)


def sample(
    generate: Generate, classes: Sequence[int], per_class: int, latent_dim: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, C, S, S) and labels (N,), `per_class` of each of `classes`."""
    rng = torch.Generator().manual_seed(seed)
    images = [sample_class(generate, label, per_class, latent_dim, rng) for label in classes]
    return torch.cat(images), torch.tensor(classes).repeat_interleave(per_class)


class Evaluator:
    """Accuracy and reverse accuracy of a generator.

    Args:
        judge: classifier of the real images.
        test: real images of the evaluation split.
        latent_dim: size of z.
        samples_per_class: images generated per class for the accuracy.
        reverse_per_class: images generated per class to train the fresh classifier on.
        reverse_steps: cap on its training steps.
        seed: seed of z, the same after every task.
    """

    def __init__(
        self,
        judge: Classifier,
        test: ImageSet,
        latent_dim: int,
        samples_per_class: int = 100,
        reverse_per_class: int = 400,
        reverse_steps: int = 600,
        seed: int = 0,
    ) -> None:
        self.judge = judge
        self.test = test
        self.latent_dim = latent_dim
        self.samples_per_class = samples_per_class
        self.reverse_per_class = reverse_per_class
        self.reverse_steps = reverse_steps
        self.seed = seed

    def judge_accuracy(self, classes: Sequence[int]) -> float:
        """Accuracy of the judge itself on the real images of `classes`: how far it can be trusted."""
        return accuracy_on(self.judge, self._real(classes))

    def accuracy(self, generate: Generate, classes: Sequence[int]) -> dict[int, float]:
        """Share of each class's generated images that the judge takes for that class."""
        images, labels = sample(generate, classes, self.samples_per_class, self.latent_dim, self.seed)
        correct = (self.judge.predict(images) == labels).double()
        return {label: correct[labels == label].mean().item() for label in classes}

    def reverse_accuracy(self, generate: Generate, classes: Sequence[int]) -> float:
        """Accuracy on real images of `classes` of a fresh classifier trained on generated ones only.

        "Reverse" or "train on synthetic, test on real" accuracy: it falls when the images are not
        recognisable and also when they lack diversity (Wu et al. 2018, section 4; Ravuri & Vinyals
        2019, arXiv 1905.10887).
        """
        images, labels = sample(generate, classes, self.reverse_per_class, self.latent_dim, self.seed + 1)
        model = train_classifier(
            ImageSet(images.numpy(), labels.numpy()),
            self.judge.head.out_features,
            seed=self.seed,
            augment=False,
            max_steps=self.reverse_steps,
        )
        return accuracy_on(model, self._real(classes))

    def _real(self, classes: Sequence[int]) -> ImageSet:
        return self.test.subset(self.test.indices_of(classes))


def accuracy_on(model: Classifier, images: ImageSet) -> float:
    """Share of the images whose class `model` recognises."""
    pixels, labels = (torch.from_numpy(part) for part in images.take(np.arange(len(images))))
    return (model.predict(pixels) == labels).double().mean().item()
