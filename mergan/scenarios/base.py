"""Defines which classes are learned when, and for how many epochs (pure Python, no torch)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mergan.scenarios.classes import Classes
from mergan.system.errors import ConfigError
from mergan.system.text import shortened, shown

MOST_LISTED = 10**8  # tasks times classes, because every task lists the classes before it


@dataclass(frozen=True)
class Task:
    """One task of the stream.

    Attributes:
        index: position in the stream, from 0.
        classes: the classes whose real images are available in this task, new and returning ones.
        before: all classes seen before the task, in the order in which they were first seen. Classes
            that the networks knew before the stream (`init_from`) come first.
        epochs: number of epochs.
        first_epoch: the epoch of the stream in which the task begins.
        span: number of tasks of the original stream that it replaces. It is 1, except for the single task
            of `strategy=joint`. With a fixed number of steps per epoch, the epochs of that task are `span`
            times as long, so every strategy gets the same number of updates.
    """

    index: int
    classes: tuple[int, ...]
    before: tuple[int, ...]
    epochs: int
    first_epoch: int
    span: int = 1

    @cached_property
    def past(self) -> tuple[int, ...]:
        """The classes seen before but not in this task, which may be forgotten; in the order of `before`."""
        own = set(self.classes)
        return tuple(label for label in self.before if label not in own)

    @cached_property
    def new(self) -> tuple[int, ...]:
        """The classes of the task that were never seen before."""
        earlier = set(self.before)
        return tuple(label for label in self.classes if label not in earlier)

    @cached_property
    def returning(self) -> tuple[int, ...]:
        """The classes of the task that were seen before."""
        earlier = set(self.before)
        return tuple(label for label in self.classes if label in earlier)

    @cached_property
    def seen(self) -> tuple[int, ...]:
        """All classes seen up to and including this task, in the order of first appearance."""
        return self.before + self.new

    @property
    def last_epoch(self) -> int:
        """The last epoch that belongs to the task."""
        return self.first_epoch + self.epochs - 1

    def text(self, names: Sequence[str]) -> str:
        """The class names in one line for the terminal; returning classes are in parentheses.

        Args:
            names: names of all classes, in the order of the labels.
        """
        again = set(self.returning)
        parts = ((label, shortened(shown(names[label]))) for label in self.classes)
        return ",".join(f"({name})" if label in again else name for label, name in parts)


@dataclass(frozen=True)
class Scenario:
    """A stream: tasks, each a block of epochs. Classes may come back in later tasks.

    Attributes:
        tasks: the tasks.
        joined: the classes of the tasks that the single task of joint training replaces; otherwise empty.
    """

    tasks: tuple[Task, ...]
    joined: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def from_classes(
        cls,
        tasks: Sequence[Sequence[int]],
        epochs: int | Sequence[int],
        known: Sequence[int] = (),
        joined: bool = False,
    ) -> Scenario:
        """Build a stream from lists of classes.

        Args:
            tasks: the classes of each task, all different within a task.
            epochs: one number for all tasks, or one per task.
            known: classes that the networks learned before the stream begins.
            joined: merge the stream into one task with every class once (joint training); `epochs` is then
                an int or a list with one entry.

        Raises:
            ConfigError: `epochs` does not fit the tasks, or there are too many tasks.
        """
        span, apart = 1, tuple(tuple(classes) for classes in tasks)
        every = list(dict.fromkeys(label for classes in tasks for label in classes))
        if joined:
            span, tasks = len(tasks), [every]
        if len(tasks) * len(every) > MOST_LISTED:
            raise ConfigError(f"scenario: {len(tasks)} tasks with {len(every)} classes in all are too many")
        per_task = _epochs_per_task(epochs, len(tasks))
        built: list[Task] = []
        before, first = tuple(known), 0
        for index, (classes, duration) in enumerate(zip(tasks, per_task, strict=True)):
            task = Task(index, tuple(classes), before, duration, first, span)
            built.append(task)
            before, first = task.seen, first + duration
        return cls(tuple(built), apart if joined else ())

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole stream."""
        return sum(task.epochs for task in self.tasks)

    @property
    def classes(self) -> tuple[int, ...]:
        """All classes known at the end of the stream, in the order of first appearance."""
        return self.tasks[-1].seen

    @cached_property
    def brought(self) -> dict[int, tuple[int, ...]]:
        """The classes by the number of the task that brought them; what was known before the stream is -1.

        A task that brings no class is absent, and so is -1 if nothing was known. For joint training, the
        tasks are those that the single task replaces.
        """
        groups, seen = {-1: self.tasks[0].before}, set(self.tasks[0].before)
        for index, classes in enumerate(self.joined or [task.classes for task in self.tasks]):
            groups[index] = tuple(label for label in classes if label not in seen)
            seen.update(classes)
        return {index: classes for index, classes in groups.items() if classes}

    def task_at(self, epoch: int) -> Task:
        """The task that `epoch` belongs to; epochs past the end belong to the last task."""
        starts = [task.first_epoch for task in self.tasks]
        return self.tasks[max(0, bisect_right(starts, epoch) - 1)]

    def text(self, names: Sequence[str]) -> str:
        """The classes of all tasks in one line; see Task.text."""
        return " | ".join(task.text(names) for task in self.tasks)


class StreamKind(ABC):
    """A kind of stream: maps the classes of a data set to the classes of each task.

    A subclass defines `tasks` and a constructor whose arguments are the keys of its YAML file. It needs no
    state. `tasks` is called several times in a run, and again when the run resumes. It must always return
    the same result for the same arguments, so random draws need a seed of their own.
    """

    @abstractmethod
    def tasks(self, classes: Classes, known: Sequence[int] = ()) -> Sequence[Sequence[int]]:
        """The labels of the classes of each task.

        Args:
            classes: classes of the data set. They have no names if a command is checked before the data is
                read; the result is then checked and discarded.
            known: labels that the networks learned before the stream begins (`init_from`).

        Raises:
            ConfigError: the arguments do not fit the classes; the message names the key, e.g.
                "scenario.tasks: ...".
        """

    def scenario(
        self,
        classes: Classes,
        epochs: int | Sequence[int],
        known: Sequence[int] = (),
        joined: bool = False,
    ) -> Scenario:
        """Build the stream.

        Args:
            classes: classes of the data set.
            epochs, known, joined: see Scenario.from_classes.

        Raises:
            ConfigError: there is no task, or a task is empty, has an unknown label or a repeated one; also
                the errors of `tasks` and Scenario.from_classes.
        """
        tasks = [list(labels) for labels in self.tasks(classes, known)]
        own = f"scenario: {type(self).__name__} makes"
        if not tasks:
            raise ConfigError(f"{own} no task")
        for index, labels in enumerate(tasks):
            if not labels:
                raise ConfigError(f"{own} task {index} without a class")
            wrong = [label for label in labels if not classes.has(label)]
            if wrong:
                raise ConfigError(f"{own} task {index} with the unknown class {wrong[0]}")
            if len(set(labels)) < len(labels):
                raise ConfigError(f"{own} task {index} with a class that stands twice in it")
        return Scenario.from_classes(tasks, epochs, known, joined)


def _epochs_per_task(epochs: int | Sequence[int], num_tasks: int) -> list[int]:
    if isinstance(epochs, int):
        return [epochs] * num_tasks
    if len(epochs) != num_tasks:
        raise ConfigError(
            f"epochs={list(epochs)}: {len(epochs)} entries for {num_tasks} task(s), "
            "give one int or one entry per task (joint training is one task)"
        )
    return list(epochs)
