"""The stream of tasks for Lightning: one loader per epoch, with only the classes of its task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from mergan.data.balance import images_of_one_pass
from mergan.data.loader import TaskLoader, steps_of_one_pass
from mergan.data.pixels import normalise
from mergan.data.pool import ImagePool
from mergan.scenarios.base import Scenario, Task


class ClassIncrementalDataModule(LightningDataModule):
    """Delivers the real images of the task that the current epoch belongs to.

    The trainer must request a new loader every epoch (`reload_dataloaders_every_n_epochs=1`). The loader
    delivers uint8 batches; they become float32 in [-1, 1] on the device.

    Args:
        pool: the real images.
        scenario: the stream of tasks.
        batch_size: real images per batch in each process, unless `real_per_step` is given.
        steps_per_epoch: steps per epoch, multiplied by the task's span; None: one pass over its images.
        seed: seed of the order of the images.
        balanced: whether batches draw every class equally often, however many images it has.
        batches_per_step: number of batches delivered per step.
        real_per_step: average number of real images per batch of a task, for strategies that fill up the
            batch with replays; may be fractional.
    """

    def __init__(
        self,
        pool: ImagePool,
        scenario: Scenario,
        *,
        batch_size: int,
        steps_per_epoch: int | None,
        seed: int,
        balanced: bool = False,
        batches_per_step: int = 1,
        real_per_step: Callable[[Task], float] | None = None,
    ) -> None:
        super().__init__()
        self.pool = pool
        self._scenario = scenario
        self._batch_size, self._batches_per_step = batch_size, batches_per_step
        self._steps_per_epoch, self._seed, self._balanced = steps_per_epoch, seed, balanced
        self._real_per_step = real_per_step

    def steps_per_epoch_of(self, task: Task) -> int:
        """Steps per epoch of this task; in a distributed run, per process."""
        if self._steps_per_epoch is not None:
            return self._steps_per_epoch * task.span
        images = images_of_one_pass(self.pool.counts(task.classes).values(), self._balanced)
        return steps_of_one_pass(images, self._real_per_step_of(task), self._world()[1])

    def train_dataloader(self) -> TaskLoader:
        """The loader of the trainer's current epoch; the call has no side effects.

        Raises:
            DataError: a class of the task has no images.
        """
        if self.trainer is None:
            raise RuntimeError("let a Trainer ask for the loader: its epoch says which task")
        task = self._scenario.task_at(self.trainer.current_epoch)
        rank, world_size = self._world()
        return TaskLoader(
            self.pool.real_set,
            task.classes,
            real_per_step=self._real_per_step_of(task),
            num_steps=None if self._steps_per_epoch is None else self.steps_per_epoch_of(task),
            seed=self._seed,
            epoch=self.trainer.current_epoch,
            balanced=self._balanced,
            batches_per_step=self._batches_per_step,
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
        """Rank of this process, and number of processes."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
