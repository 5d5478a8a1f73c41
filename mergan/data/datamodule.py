"""The stream of tasks as Lightning sees it: one loader per epoch, with the classes of its task only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule

from mergan.data import cache
from mergan.data.image_set import ImageSet
from mergan.data.loader import TaskLoader, steps_of_one_pass
from mergan.data.pixels import normalise
from mergan.data.source import SPLITS, Source, Split, digest_of
from mergan.data.splits import at_most, hold_out
from mergan.scenarios.base import Scenario, Task
from mergan.system.errors import DataError
from mergan.system.text import shown


class ClassIncrementalDataModule(LightningDataModule):
    """Delivers the real images of the task that the current epoch belongs to.

    The trainer must ask for a new loader every epoch (`reload_dataloaders_every_n_epochs=1`), and
    `attach` must have set the stream. Batches leave the loader as uint8 and become float32 in
    [-1, 1] on the device.

    Args:
        source: the data set.
        image_size: side of the images in pixels.
        batch_size: real images of a batch in each process, where `real_per_step` says nothing else.
        cache_dir: where decoded images are kept.
        steps_per_epoch: steps of an epoch, times the task's span; None for one pass over the task's images.
        seed: seed of the order of the images.
        split: what to evaluate on: "test", or "val" for a part of the training images that is
            then kept from training.
        val_fraction: share of each class that is set aside for "val"; at least one image.
        batches_per_step: batches that a step brings at once (critic steps before one of G's).
        real_per_step: real images per batch of a task, on average, for strategies that fill up the
            batch with replays; may be fractional.
        max_per_class: train on at most this many images of each class, always the same ones.
        classes: keep only these classes of the source, by name and labelled in this order, e.g. those
            that a checkpoint knows; None for all in the order of the source.
    """

    def __init__(
        self,
        source: Source,
        *,
        image_size: int,
        batch_size: int,
        cache_dir: str | Path,
        steps_per_epoch: int | None,
        seed: int,
        split: Literal["val", "test"] = "test",
        val_fraction: float = 0.1,
        batches_per_step: int = 1,
        real_per_step: Callable[[Task], float] | None = None,
        max_per_class: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.image_size = image_size
        self._cache_dir = cache_dir
        self._batch_size, self._batches_per_step = batch_size, batches_per_step
        self._steps_per_epoch, self._seed = steps_per_epoch, seed
        self._split, self._val_fraction = split, val_fraction
        self._max_per_class = max_per_class
        self._real_per_step = real_per_step
        self._classes = None if classes is None else list(classes)
        self._scenario: Scenario | None = None
        self._sets: dict[str, ImageSet] = {}
        self._labels: dict[Split, np.ndarray] = {}
        self._counts: list[int] = []
        self._description: dict[str, dict[str, int | str]] | None = None

    def attach(self, scenario: Scenario) -> None:
        """Set the stream of tasks."""
        self._scenario = scenario

    def prepare_data(self) -> None:
        """Fetch the data set if need be and decode it into the cache.

        Raises:
            DataError: it is missing or cannot be read, it lacks one of `classes`, or the cache cannot
                be written.
        """
        for split in SPLITS:
            self._load(split)

    def setup(self, stage: str | None = None) -> None:
        """Load both splits; calls after the first do nothing.

        Raises:
            DataError: as `prepare_data`, or a class is too small to set images aside.
        """
        if self._sets:
            return
        train = self._load("train")
        self._labels["train"] = train.labels
        if self._split == "val":
            left, aside = hold_out(train.labels, self._val_fraction, self.class_names)
            train, evaluation = train.subset(left), train.subset(aside)
        else:
            evaluation = self._load("test")
            self._labels["test"] = evaluation.labels
        cap = self._max_per_class
        real = train if cap is None else train.subset(at_most(train.labels, cap))
        self._counts = np.bincount(real.labels, minlength=self.num_classes).tolist()
        self._sets = {"train": train, "real": real, "evaluation": evaluation}

    @property
    def class_names(self) -> list[str]:
        """The name of each class, in the order of the labels."""
        return self.source.class_names if self._classes is None else self._classes

    @property
    def num_classes(self) -> int:
        """How many classes there are, whether or not the stream uses them."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.source.channels

    @property
    def train_set(self) -> ImageSet:
        """The real images to train with, of all classes, whatever `max_per_class` is."""
        self.setup()
        return self._sets["train"]

    @property
    def real_set(self) -> ImageSet:
        """The part of `train_set` that the loaders draw from: at most `max_per_class` of each class."""
        self.setup()
        return self._sets["real"]

    @property
    def evaluation_set(self) -> ImageSet:
        """The real images to evaluate on, of all classes; none of them is in `train_set`."""
        self.setup()
        return self._sets["evaluation"]

    def description(self) -> dict[str, dict[str, int | str]]:
        """Which data this is, by name of the class: what must stay the same for a run to go on.

        Returns:
            For each class `train` and `test`, how many images the source has, whatever the run sets
            aside or leaves out, and `identity`, see `Source.identity`.

        Raises:
            DataError: as `prepare_data`.
        """
        if self._description is None:  # once: every checkpoint asks for it
            self._description = self._describe()
        return self._description

    def _describe(self) -> dict[str, dict[str, int | str]]:
        self.setup()
        for split in SPLITS:
            if split not in self._labels:  # that of the images left out by evaluation.split=val
                self._labels[split] = self._load(split).labels
        counts = {split: np.bincount(self._labels[split], minlength=self.num_classes) for split in SPLITS}
        identities = dict(zip(self.source.class_names, self.source.identity(), strict=True))
        return {
            name: {
                **{split: int(counts[split][label]) for split in SPLITS},
                "identity": identities[name],
            }
            for label, name in enumerate(self.class_names)
        }

    def fingerprint(self) -> str:
        """That of the source, with the names of the classes where not all of them are used."""
        own = self.source.fingerprint()
        return own if self._kept() is None else f"{own}|{digest_of(*self.class_names)}"

    def counts(self, classes: Iterable[int]) -> dict[int, int]:
        """How many images of `real_set` each of the classes has."""
        self.setup()
        return {label: self._counts[label] for label in classes}

    def real_of(self, classes: Iterable[int]) -> ImageSet:
        """The images of `real_set` that belong to these classes."""
        return self.real_set.subset(self.real_set.indices_of(classes))

    def steps_per_epoch_of(self, task: Task) -> int:
        """Steps of an epoch of this task; in a distributed run of each process."""
        if self._steps_per_epoch is not None:
            return self._steps_per_epoch * task.span
        images = sum(self.counts(task.classes).values())
        return steps_of_one_pass(images, self._real_per_step_of(task), self._world()[1])

    def train_dataloader(self) -> TaskLoader:
        """The loader of the trainer's current epoch; asking for it changes nothing.

        Raises:
            DataError: a class of the task has no images.
        """
        if self._scenario is None or self.trainer is None:
            raise RuntimeError("attach a scenario, and let a Trainer ask for the loader")
        task = self._scenario.task_at(self.trainer.current_epoch)
        rank, world_size = self._world()
        return TaskLoader(
            self.real_set,
            task.classes,
            real_per_step=self._real_per_step_of(task),
            num_steps=None if self._steps_per_epoch is None else self.steps_per_epoch_of(task),
            seed=self._seed,
            epoch=self.trainer.current_epoch,
            rank=rank,
            world_size=world_size,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn the loader's (uint8 images, labels) into (float32 images in [-1, 1], labels)."""
        images, labels = batch
        return (normalise(images), labels) if images.dtype == torch.uint8 else batch

    def _real_per_step_of(self, task: Task) -> float:
        per_batch = self._batch_size if self._real_per_step is None else self._real_per_step(task)
        return per_batch * self._batches_per_step

    def _world(self) -> tuple[int, int]:
        """Number of this process, and how many there are."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _load(self, split: Split) -> ImageSet:
        images = cache.load(self.source, split, self.image_size, self._cache_dir)
        kept = self._kept()
        return images if kept is None else images.relabelled(kept)

    def _kept(self) -> list[int] | None:
        """The source's labels of `classes`; None where these are all of them in the same order."""
        if self._classes is None or self._classes == self.source.class_names:
            return None
        labels = {name: label for label, name in enumerate(self.source.class_names)}
        for name in self._classes:
            if name not in labels:
                raise DataError(f"{self.source.name}: there is no class {shown(name)} among its classes")
        if len(set(self._classes)) < len(self._classes):
            raise DataError(f"{self.source.name}: a class is asked for twice")
        return [labels[name] for name in self._classes]
