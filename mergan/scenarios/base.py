"""Which classes are learned when, and for how many epochs (pure Python, no torch)."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from mergan.system.errors import ConfigError


@dataclass(frozen=True)
class Task:
    """One task of the stream.

    Attributes:
        index: position in the stream, from 0.
        classes: the classes whose real images exist during this task.
        past: the classes learned before, in the order they were learned.
        epochs: how many epochs the task lasts.
        first_epoch: the epoch of the stream at which it begins.
        span: how many tasks of the original stream it stands for. 1, except for the single task
            of `strategy=joint`, whose epochs are `span` times as long where the number of steps
            per epoch is fixed, so that every strategy gets the same number of updates.
    """

    index: int
    classes: tuple[int, ...]
    past: tuple[int, ...]
    epochs: int
    first_epoch: int
    span: int = 1

    @property
    def seen(self) -> tuple[int, ...]:
        """All classes learned up to and including this task."""
        return self.past + self.classes

    @property
    def last_epoch(self) -> int:
        """The last epoch that belongs to the task."""
        return self.first_epoch + self.epochs - 1


@dataclass(frozen=True)
class Scenario:
    """A class-incremental stream: tasks with disjoint classes, each a block of epochs."""

    tasks: tuple[Task, ...]

    @classmethod
    def from_classes(
        cls,
        tasks: Sequence[Sequence[int]],
        epochs: int | Sequence[int],
        known: Sequence[int] = (),
        joined: bool = False,
    ) -> Scenario:
        """Chain lists of classes into a stream.

        Args:
            tasks: the classes of each task.
            epochs: one number for all tasks, or one per task.
            known: classes that the networks learned before the stream begins.
            joined: one single task with all the classes instead (joint training); `epochs` is then
                an int or a list of one.

        Raises:
            ConfigError: `epochs` does not fit the tasks.
        """
        span = 1
        if joined:
            span, tasks = len(tasks), [[label for classes in tasks for label in classes]]
        per_task = _epochs_per_task(epochs, len(tasks))
        built: list[Task] = []
        past, first = tuple(known), 0
        for index, (classes, duration) in enumerate(zip(tasks, per_task, strict=True)):
            built.append(Task(index, tuple(classes), past, duration, first, span))
            past, first = past + tuple(classes), first + duration
        return cls(tuple(built))

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole stream."""
        return sum(task.epochs for task in self.tasks)

    @property
    def classes(self) -> tuple[int, ...]:
        """Every class known at the end of the stream, in the order learned."""
        return self.tasks[-1].seen

    def task_at(self, epoch: int) -> Task:
        """The task that `epoch` belongs to; epochs past the end belong to the last task."""
        starts = [task.first_epoch for task in self.tasks]
        return self.tasks[max(0, bisect_right(starts, epoch) - 1)]


def split_classes(
    num_classes: int,
    classes_per_task: int | None = None,
    tasks: Sequence[Sequence[int]] | None = None,
    class_order: str | Sequence[int] = "fixed",
    order_seed: int = 0,
    known: Sequence[int] = (),
) -> list[list[int]]:
    """Divide the classes of a data set into tasks.

    Args:
        num_classes: classes of the data set, numbered from 0.
        classes_per_task: how many new classes each task brings; the last task takes the rest.
        tasks: explicit lists of classes instead; classes may be left out.
        class_order: "fixed" (0, 1, 2, ...), "shuffled" (by `order_seed`) or an explicit order;
            only used with `classes_per_task`.
        order_seed: seed of the shuffled order, independent of the seed of the training.
        known: classes learned before the stream begins; `classes_per_task` divides the others.

    Raises:
        ConfigError: an empty task, a class twice, an unknown class, or neither rule given.
    """
    if tasks is not None:
        chosen = [list(classes) for classes in tasks]
    elif classes_per_task is not None:
        order = [c for c in _ordered(num_classes, class_order, order_seed) if c not in set(known)]
        chosen = [order[i : i + classes_per_task] for i in range(0, len(order), classes_per_task)]
        if not chosen:
            raise ConfigError(
                "scenario: init_from already knows every class; name new ones in scenario.tasks"
            )
    else:
        raise ConfigError("scenario: give scenario.classes_per_task or explicit scenario.tasks")
    _check_tasks(chosen, num_classes, known)
    return chosen


def _ordered(num_classes: int, class_order: str | Sequence[int], order_seed: int) -> list[int]:
    if class_order == "fixed":
        return list(range(num_classes))
    if class_order == "shuffled":
        order = list(range(num_classes))
        random.Random(order_seed).shuffle(order)
        return order
    if isinstance(class_order, str):
        raise ConfigError(
            f"scenario.class_order={class_order}: use fixed, shuffled, or a list of classes such as [2,0,1]"
        )
    order = list(class_order)
    wrong = [label for label in order if not _is_class(label, num_classes) or order.count(label) > 1]
    if wrong:
        raise ConfigError(
            f"scenario.class_order: unknown or repeated class {wrong[0]}, "
            f"the data set has classes 0 to {num_classes - 1}"
        )
    return order


def _is_class(label: object, num_classes: int) -> bool:
    return isinstance(label, int) and not isinstance(label, bool) and 0 <= label < num_classes


def _check_tasks(tasks: list[list[int]], num_classes: int, known: Sequence[int]) -> None:
    if not tasks:
        raise ConfigError("scenario.tasks is empty: name at least one task, e.g. [[0,1],[2,3]]")
    place: dict[int, int] = {}
    for index, classes in enumerate(tasks):
        if not classes:
            raise ConfigError(f"scenario.tasks: task {index} is empty, give it at least one class")
        for label in classes:
            if not _is_class(label, num_classes):
                raise ConfigError(
                    f"scenario.tasks: unknown class {label} in task {index}, "
                    f"the data set has classes 0 to {num_classes - 1}"
                )
            if label in place:
                raise ConfigError(
                    f"scenario.tasks: class {label} is in task {place[label]} and again in task {index}, "
                    "each class belongs to one task"
                )
            if label in known:
                raise ConfigError(
                    f"scenario.tasks: class {label} in task {index} was already learned in init_from, "
                    "leave it out"
                )
            place[label] = index


def _epochs_per_task(epochs: int | Sequence[int], num_tasks: int) -> list[int]:
    if isinstance(epochs, int):
        return [epochs] * num_tasks
    if len(epochs) != num_tasks:
        raise ConfigError(
            f"epochs={list(epochs)}: {len(epochs)} entries for {num_tasks} task(s), "
            "give one int or one entry per task (joint training is one task)"
        )
    return list(epochs)
