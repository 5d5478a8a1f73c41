"""The real images that a run may use for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mergan.data import cache
from mergan.data.image_set import ImageSet
from mergan.data.source import SPLITS, Source, Split, digest_of
from mergan.data.splits import at_most, first_of_each, hold_out
from mergan.system.errors import DataError
from mergan.system.text import shown


class ImagePool:
    """Both splits of a data set, fetched and decoded when the pool is created.

    Args:
        source: the data set.
        image_size: side of the images in pixels.
        cache_dir: folder for decoded images.
        split: the split for evaluation: "test", or "val" for a part of the training images, which is
            then excluded from training.
        val_fraction: share of each class to set aside for "val"; at least one image.
        max_per_class: train on at most this many images of each class, always the same ones.
        takes_first: whether these are the first ones in the data set, instead of a random choice.
        classes: names of the classes to keep, labelled in this order, e.g. those that a checkpoint knows;
            None: all classes in the order of the source.

    Attributes:
        train_set: the real training images of all classes, without the limit of `max_per_class`.
        real_set: the part of it that batches are drawn from, at most `max_per_class` of each class.
        evaluation_set: the real evaluation images of all classes; none of them is in `train_set`.

    Raises:
        DataError: the data is missing or cannot be read, it lacks one of `classes`, a class is too small to
            set images aside, or the cache cannot be written.
    """

    def __init__(
        self,
        source: Source,
        *,
        image_size: int,
        cache_dir: str | Path,
        split: Literal["val", "test"],
        val_fraction: float,
        max_per_class: int | None = None,
        takes_first: bool = False,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.source = source
        self.image_size = image_size
        self._cache_dir = cache_dir
        self._classes = None if classes is None else list(classes)
        sets = {part: self._load(part) for part in SPLITS}
        self._labels = {part: images.labels for part, images in sets.items()}
        self.train_set, self.evaluation_set = sets["train"], sets["test"]
        if split == "val":
            left, aside = hold_out(self.train_set.labels, val_fraction, self.class_names)
            self.train_set, self.evaluation_set = sets["train"].subset(left), sets["train"].subset(aside)
        self.real_set = self.train_set
        if max_per_class is not None:
            choose = first_of_each if takes_first else at_most
            self.real_set = self.train_set.subset(choose(self.train_set.labels, max_per_class))
        self._counts = np.bincount(self.real_set.labels, minlength=self.num_classes).tolist()
        self._description: dict[str, dict[str, int | str]] | None = None

    @property
    def class_names(self) -> list[str]:
        """The name of each class, in the order of the labels."""
        return self.source.class_names if self._classes is None else self._classes

    @property
    def num_classes(self) -> int:
        """Number of classes, whether or not the stream uses them."""
        return len(self.class_names)

    @property
    def shape(self) -> dict[str, int]:
        """The data shape for networks: `num_classes`, `channels` (1 grey, 3 colour) and `image_size`."""
        return {
            "num_classes": self.num_classes,
            "channels": self.source.channels,
            "image_size": self.image_size,
        }

    def counts(self, classes: Iterable[int]) -> dict[int, int]:
        """Number of images in `real_set` for each of the classes."""
        return {label: self._counts[label] for label in classes}

    def real_of(self, classes: Iterable[int]) -> ImageSet:
        """The images of `real_set` that belong to these classes."""
        return self.real_set.subset(self.real_set.indices_of(classes))

    def description(self) -> dict[str, dict[str, int | str]]:
        """Identify the data by class name; it must stay the same if a run is to resume.

        Returns:
            For each class `train` and `test`, the number of images in the source before the run sets any
            aside or leaves any out, and `identity`, see `Source.identity`.
        """
        if self._description is None:  # computed once, since every checkpoint needs it
            counts = {part: np.bincount(self._labels[part], minlength=self.num_classes) for part in SPLITS}
            identities = dict(zip(self.source.class_names, self.source.identity(), strict=True))
            self._description = {
                name: {
                    **{part: int(counts[part][label]) for part in SPLITS},
                    "identity": identities[name],
                }
                for label, name in enumerate(self.class_names)
            }
        return self._description

    def fingerprint(self) -> str:
        """The fingerprint of the source, plus the class names if not all classes are used in order."""
        own = self.source.fingerprint()
        return own if self._kept() is None else f"{own}|{digest_of(*self.class_names)}"

    def _load(self, split: Split) -> ImageSet:
        images = cache.load(self.source, split, self.image_size, self._cache_dir)
        kept = self._kept()
        return images if kept is None else images.relabelled(kept)

    def _kept(self) -> list[int] | None:
        """The source's labels of `classes`; None if these are all classes in the same order."""
        if self._classes is None or self._classes == self.source.class_names:
            return None
        labels = {name: label for label, name in enumerate(self.source.class_names)}
        for name in self._classes:
            if name not in labels:
                raise DataError(f"{self.source.name}: there is no class {shown(name)} among its classes")
        if len(set(self._classes)) < len(self._classes):
            raise DataError(f"{self.source.name}: a class is asked for twice")
        return [labels[name] for name in self._classes]
