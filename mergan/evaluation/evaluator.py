"""Measures a generator against real images that no network was trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from mergan.data.image_set import ImageSet
from mergan.data.splits import at_most
from mergan.evaluation import united
from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.classifiers.base import BATCH
from mergan.evaluation.features import FeatureSpace
from mergan.evaluation.features.judge import JudgeFeatures
from mergan.evaluation.figures import Measured, named
from mergan.evaluation.metrics import Comparison, FeatureSet, Metric
from mergan.evaluation.sampling import Generate, Stored, nothing_stored, sample, sample_class
from mergan.evaluation.training import Fresh, train_classifier
from mergan.system import interrupts

NO_TASKS: Mapping[int, Collection[int]] = MappingProxyType({})


class Evaluator:
    """Measures a generator: its accuracy according to the judge, and metrics that compare features.

    Args:
        judge: classifier trained on the real images.
        fresh: makes an untrained classifier, for the reverse accuracy.
        test: real images of the evaluation split.
        latent_dim: size of z.
        metrics: metrics besides the accuracy, by name.
        samples_per_class: generated images per class, for the accuracy and all metrics.
        references_per_class: maximum number of real images per class, always the same ones.
        spaces: the feature spaces in which the metrics compare, by name. The figures of "judge" have the
            names of the metrics, those of another space its name as a suffix, as recall_random.
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
        fresh: Fresh,
        test: ImageSet,
        latent_dim: int,
        metrics: Mapping[str, Metric],
        samples_per_class: int,
        references_per_class: int,
        spaces: Mapping[str, FeatureSpace],
        reverse_per_class: int,
        reverse_steps: int,
        seed: int,
    ) -> None:
        self.judge = judge
        self.fresh = fresh
        self.test = test
        self.latent_dim = latent_dim
        self.spaces = dict(spaces)
        self.figures = named(metrics, self.spaces)
        self.samples_per_class = samples_per_class
        self.reverse_per_class = reverse_per_class
        self.reverse_steps = reverse_steps
        self.seed = seed
        self._capped = test.subset(at_most(test.labels, references_per_class))
        self._references: dict[int, dict[str, FeatureSet]] = {}
        self._judged: dict[tuple[int, ...], float] = {}

    def to(self, device: torch.device) -> None:
        """Let judge, feature spaces and the classifier of the reverse accuracy compute on `device`.

        The features come back to the CPU, where the metrics compare them in float64.
        """
        self.judge.to(device)
        for space in self.spaces.values():
            space.to(device)

    @property
    def per_class(self) -> list[str]:
        """The figures that have a value per class: the accuracy, and all metrics but those per task."""
        return ["accuracy", *(name for name, figure in self.figures.items() if not figure.metric.per_task)]

    @property
    def per_task(self) -> list[str]:
        """The figures that have a value per task."""
        return [name for name, figure in self.figures.items() if figure.metric.per_task]

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Whether higher is better, for the accuracy and every metric in every feature space, by name."""
        return {"accuracy": True} | {
            name: figure.metric.higher_is_better for name, figure in self.figures.items()
        }

    def judge_accuracy(self, classes: Sequence[int]) -> float:
        """Accuracy of the judge itself on the real images of `classes`: how far you can trust it."""
        key = tuple(classes)
        if key not in self._judged:
            self._judged[key] = accuracy_on(self.judge, self._real(classes))
        return self._judged[key]

    def measure(
        self,
        generate: Generate,
        classes: Sequence[int],
        stored: Stored = nothing_stored,
        tasks: Mapping[int, Collection[int]] = NO_TASKS,
    ) -> Measured:
        """Measure accuracy and all metrics for each of `classes`, on the same generated images.

        The accuracy is the share of a class's images that the judge assigns to that class. The first
        `samples_per_class` stored images of a class stand for generated ones; see Strategy.stored_images.
        Metrics per task are measured for those of `tasks` (see `Scenario.brought`) whose classes are there.
        """
        measured = Measured({name: {} for name in self.per_class}, {name: {} for name in self.per_task})
        pairs: dict[int, dict[str, Comparison]] = {}
        for label in classes:
            interrupts.check()
            images = stored(label)
            if images is None:
                images = sample_class(generate, label, self.samples_per_class, self.latent_dim, self.seed)
            features, taken_for = self._look(images[: self.samples_per_class])
            measured.per_class["accuracy"][label] = (taken_for == label).double().mean().item()
            references = self.references(label)
            pairs[label] = {name: Comparison(references[name], features[name]) for name in self.spaces}
            for name, (space, metric) in self.figures.items():
                if not metric.per_task and metric.measurable(pairs[label][space]):
                    measured.per_class[name][label] = metric(pairs[label][space])
        united.compare(self.figures, pairs, tasks, measured)
        return measured

    def references(self, label: int) -> dict[str, FeatureSet]:
        """Features of the real images of a class by feature space, computed on first use and then cached."""
        if label not in self._references:
            images, _ = self._capped.take(self._capped.indices_of([label]))
            self._references[label] = self._look(torch.from_numpy(images))[0]
        return self._references[label]

    def real_count(self, label: int) -> int:
        """Number of real images of a class that the metrics compare with."""
        return len(self._capped.indices_of([label]))

    def reverse_accuracy(
        self, generate: Generate, classes: Sequence[int], stored: Stored = nothing_stored
    ) -> float:
        """Train a new classifier on generated images only; return its accuracy on real ones of `classes`.

        This is the "reverse" or "train on synthetic, test on real" accuracy. It drops if the images are
        not recognisable, and also if they lack diversity (Wu et al. 2018; Ravuri & Vinyals 2019,
        arXiv 1905.10887). Whether the classifier sees the images as they are or augmented is up to
        the classifier (`augment_reverse`). All stored images of a class stand for generated ones.
        """
        images, labels = sample(
            generate, classes, self.reverse_per_class, self.latent_dim, self.seed + 1, stored
        )
        model = train_classifier(
            ImageSet(images.numpy(), labels.numpy()),
            self.fresh,
            seed=self.seed,
            augment=self.judge.augment_reverse,
            max_steps=self.reverse_steps,
            device=self.judge.device,
        )
        return accuracy_on(model, self._real(classes))

    def conditions(self, classes: Sequence[int]) -> dict[str, float | str]:
        """Settings and counts that the values depend on, under their names in metrics.json."""
        found: dict[str, float | str] = {"evaluation_samples_per_class": self.samples_per_class}
        if not self.figures:
            return found
        references = [self.references(label) for label in classes]
        found["evaluation_references_per_class"] = min(map(self.real_count, classes))
        found["evaluation_features"] = ",".join(self.spaces)
        for name, space in self.spaces.items():
            if space.per_class is not None:
                found[f"evaluation_samples_per_class_{name}"] = min(space.per_class, self.samples_per_class)
                found[f"evaluation_references_per_class_{name}"] = min(len(part[name]) for part in references)
        return found

    def _look(self, images: Tensor) -> tuple[dict[str, FeatureSet], Tensor]:
        """Features by feature space, and the classes that the judge predicts (N,)."""
        of_judge, taken_for = self.judge.look(images)
        features = {}
        for name, space in self.spaces.items():
            some = images[: space.per_class]
            own = isinstance(space, JudgeFeatures) and space.judge is self.judge  # one pass gives both
            features[name] = FeatureSet(of_judge[: len(some)] if own else space(some))
        return features, taken_for

    def _real(self, classes: Sequence[int]) -> ImageSet:
        return self.test.subset(self.test.indices_of(classes))


def accuracy_on(model: Classifier, images: ImageSet) -> float:
    """Share of the images that `model` classifies correctly."""
    _, taken_for = model.look_through(torch.from_numpy(batch) for batch, _ in images.in_order(BATCH))
    return (taken_for == torch.from_numpy(images.labels)).double().mean().item()
