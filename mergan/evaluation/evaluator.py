"""Measures a generator against real images that no network was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mergan.data import denormalise
from mergan.data.image_set import ImageSet
from mergan.data.splits import at_most
from mergan.evaluation.classifier import Classifier, train_classifier
from mergan.evaluation.metrics import Comparison, FeatureSet, Metric
from mergan.system import interrupts
from mergan.system.errors import ConfigError

Generate = Callable[[Tensor, Tensor], Tensor]  # z (B, latent_dim), labels (B,) -> images in [-1, 1]
CHUNK = 200  # images generated at a time
TAKEN = ("accuracy", "reverse_accuracy", "judge_accuracy", "forgetting")  # reserved metric names


def sample_class(generate: Generate, label: int, count: int, latent_dim: int, seed: int) -> Tensor:
    """Generate `count` images of one class, uint8 (count, C, S, S).

    Every batch holds one class, so a generator with batch statistics is measured the way it is used. z
    depends only on the seed and the class, not on the other requested classes.
    """
    rng = torch.Generator().manual_seed(seed * 1_000_003 + label)
    images = []
    for start in range(0, count, CHUNK):
        z = torch.randn(min(CHUNK, count - start), latent_dim, generator=rng)
        images.append(denormalise(generate(z, torch.full((len(z),), label))).cpu())
    return torch.cat(images)


def sample(
    generate: Generate, classes: Sequence[int], per_class: int, latent_dim: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Generate images uint8 (N, C, S, S) with labels (N,), `per_class` of each of `classes`."""
    images = [sample_class(generate, label, per_class, latent_dim, seed) for label in classes]
    return torch.cat(images), torch.tensor(classes).repeat_interleave(per_class)


@dataclass
class Measured:
    """The measured values of one generator.

    Attributes:
        per_class: values by metric name, then by class; the accuracy comes first. A class with too few
            images for a metric is absent from its row.
        pooled: values over all classes together by metric name, for metrics with `pooled`.
    """

    per_class: dict[str, dict[int, float]]
    pooled: dict[str, float] = field(default_factory=dict)


class Evaluator:
    """Measures a generator: its accuracy according to the judge, and metrics that compare features.

    Args:
        judge: classifier trained on the real images.
        test: real images of the evaluation split.
        latent_dim: size of z.
        metrics: metrics besides the accuracy, by name.
        samples_per_class: generated images per class, for the accuracy and all metrics.
        references_per_class: maximum number of real images per class, always the same ones.
        features: name of the features that the metrics compare.
        extract: uint8 images (N, C, S, S) -> these features (N, D); None: the judge's penultimate layer.
        reverse_per_class: generated images per class to train a new classifier on; 0: no reverse
            accuracy.
        reverse_steps: maximum number of training steps of that classifier.
        seed: seed of z, the same after every task.

    Raises:
        ConfigError: a metric has a reserved name.
    """

    def __init__(
        self,
        judge: Classifier,
        test: ImageSet,
        latent_dim: int,
        metrics: Mapping[str, Metric],
        samples_per_class: int,
        references_per_class: int,
        features: str,
        extract: Callable[[Tensor], Tensor] | None,
        reverse_per_class: int,
        reverse_steps: int,
        seed: int,
    ) -> None:
        self.judge = judge
        self.test = test
        self.latent_dim = latent_dim
        self.metrics = dict(metrics)
        for name in TAKEN:
            if name in self.metrics:
                raise ConfigError(f"evaluation.metrics.{name}: this name is taken, use another one")
        self.samples_per_class = samples_per_class
        self.features = features
        self.extract = extract
        self.reverse_per_class = reverse_per_class
        self.reverse_steps = reverse_steps
        self.seed = seed
        self._capped = test.subset(at_most(test.labels, references_per_class))
        self._references: dict[int, FeatureSet] = {}

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Whether higher is better, for the accuracy and every metric by name."""
        return {"accuracy": True} | {name: metric.higher_is_better for name, metric in self.metrics.items()}

    def judge_accuracy(self, classes: Sequence[int]) -> float:
        """Accuracy of the judge itself on the real images of `classes`: how far you can trust it."""
        return accuracy_on(self.judge, self._real(classes))

    def measure(self, generate: Generate, classes: Sequence[int]) -> Measured:
        """Measure accuracy and all metrics for each of `classes`, on the same generated images.

        The accuracy is the share of a class's images that the judge assigns to that class.
        """
        measured = Measured({name: {} for name in self.higher_is_better})
        pairs: dict[int, Comparison] = {}
        for label in classes:
            interrupts.check()
            images = sample_class(generate, label, self.samples_per_class, self.latent_dim, self.seed)
            features, taken_for = self._look(images)
            measured.per_class["accuracy"][label] = (taken_for == label).double().mean().item()
            if self.metrics:
                pairs[label] = Comparison(self.references(label), FeatureSet(features))
                self._compare(pairs[label], label, measured)
        if any(metric.pooled for metric in self.metrics.values()):
            in_order = [pairs[label] for label in sorted(pairs)]  # independent of the order of the stream
            self._compare_pooled(
                Comparison(_union([p.real for p in in_order]), _union([p.generated for p in in_order])),
                measured,
            )
        return measured

    def references(self, label: int) -> FeatureSet:
        """Features of the real images of a class, computed on first use and then cached."""
        if label not in self._references:
            images, _ = self._capped.take(self._capped.indices_of([label]))
            self._references[label] = FeatureSet(self._look(torch.from_numpy(images))[0])
        return self._references[label]

    def reverse_accuracy(self, generate: Generate, classes: Sequence[int]) -> float:
        """Train a new classifier on generated images only; return its accuracy on real ones of `classes`.

        This is the "reverse" or "train on synthetic, test on real" accuracy. It drops if the images are
        not recognisable, and also if they lack diversity (Wu et al. 2018, section 4; Ravuri & Vinyals
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

    def conditions(self, classes: Sequence[int]) -> dict[str, float | str]:
        """Settings and counts that the values depend on, under their names in metrics.json."""
        found: dict[str, float | str] = {"evaluation_samples_per_class": self.samples_per_class}
        if self.metrics:
            found["evaluation_references_per_class"] = min(len(self.references(label)) for label in classes)
            found["evaluation_features"] = self.features
        return found

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features for the metrics (N, D), and the classes that the judge predicts (N,)."""
        features, taken_for = self.judge.look(images)
        return (features if self.extract is None else self.extract(images)), taken_for

    def _compare(self, pair: Comparison, label: int, measured: Measured) -> None:
        for name, metric in self.metrics.items():
            if metric.measurable(pair):
                measured.per_class[name][label] = metric(pair)

    def _compare_pooled(self, pair: Comparison, measured: Measured) -> None:
        for name, metric in self.metrics.items():
            if metric.pooled and metric.measurable(pair):
                measured.pooled[name] = metric(pair)

    def _real(self, classes: Sequence[int]) -> ImageSet:
        return self.test.subset(self.test.indices_of(classes))


def _union(sets: Sequence[FeatureSet]) -> FeatureSet:
    return FeatureSet(torch.cat([part.features for part in sets]))


def accuracy_on(model: Classifier, images: ImageSet) -> float:
    """Share of the images that `model` classifies correctly."""
    pixels, labels = (torch.from_numpy(part) for part in images.take(np.arange(len(images))))
    return (model.predict(pixels) == labels).double().mean().item()
