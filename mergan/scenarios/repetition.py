"""Streams whose classes come back (Hemati et al. 2023, arXiv 2301.11396)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Le, Lt

from mergan.scenarios.base import StreamKind
from mergan.scenarios.classes import Classes, ordered, read_tasks
from mergan.system.errors import ConfigError

MOST_DRAWS = 10**6  # one draw per class seen and per task


class Repetition(StreamKind):
    """Class-incremental learning with repetition: classes come back in later tasks.

    A drawn stream follows the paper's sampling-based generator, with three differences. New classes appear at
    a constant rate, `classes_per_task` in each task until all have appeared. (The paper draws the task of
    the first appearance, e.g. from a geometric distribution.) A class comes back with all its real images.
    (The paper draws a sample of them for each task.) A task without any class gets one class seen earlier,
    chosen uniformly. (The paper's code leaves such a task out.) As in the paper, each class seen in an
    earlier task is in task t with probability `repetition`, independently of all others.

    Classes that the networks know from `init_from` count as seen and come back like the others.

    Args:
        num_tasks: length of the stream; null: until every class has appeared.
        classes_per_task: number of new classes per task until all have appeared; the last of these tasks
            gets the remaining ones.
        repetition: probability that a class seen in an earlier task appears in a task again.
        tasks: alternatively, explicit lists of classes, by number or by name; nothing is drawn.
        class_order: order of the first appearances: "fixed" (0, 1, 2, ...), "shuffled" (by `order_seed`) or
            an explicit order of numbers and names.
        order_seed: seed of the shuffled order and of the repetitions, independent of the training seed.
    """

    def __init__(
        self,
        num_tasks: Annotated[int, Ge(1), Lt(2**31)] | None,
        classes_per_task: Annotated[int, Ge(1), Lt(2**31)],
        repetition: Annotated[float, Ge(0), Le(1)],
        tasks: Sequence[Sequence[int | str]] | None,
        class_order: str | Sequence[int | str],
        order_seed: Annotated[int, Ge(0), Lt(2**31)],
    ) -> None:
        self.num_tasks = num_tasks
        self.classes_per_task = classes_per_task
        self.repetition = repetition
        self.explicit = tasks
        self.class_order = class_order
        self.order_seed = order_seed

    def tasks(self, classes: Classes, known: Sequence[int] = ()) -> list[list[int]]:
        """Lists of labels: for each task the new classes, then returning ones in the order first seen.

        Raises:
            ConfigError: the stream is too short for all classes to appear, or has no task; also the errors
                of `read_tasks` and `ordered`.
        """
        if self.explicit is not None:
            return read_tasks(self.explicit, classes)
        seen, earlier = list(known), set(known)
        order = ordered(classes, self.class_order, self.order_seed)
        order = [label for label in order if label not in earlier]
        # a separate generator, so that shuffling the order does not change the repetitions
        rng = random.Random(f"repetition {self.order_seed}")
        chosen: list[list[int]] = []
        for index in range(self._length(len(order), len(seen))):
            new = order[index * self.classes_per_task : (index + 1) * self.classes_per_task]
            again = [label for label in seen if rng.random() < self.repetition]
            if not new and not again:
                again = [rng.choice(seen)]
            chosen.append(new + again)
            seen += new
        return chosen

    def _length(self, num_new: int, num_known: int) -> int:
        """Number of tasks, given the number of new classes and of classes known before."""
        needed = -(-num_new // self.classes_per_task)
        if self.num_tasks is None:
            if needed == 0:
                raise ConfigError(
                    "scenario.num_tasks=null: init_from already knows every class; use the number of tasks "
                    "in which they come back"
                )
            length = needed
        elif self.num_tasks < needed:
            raise ConfigError(
                f"scenario.num_tasks={self.num_tasks}: {num_new} classes, {self.classes_per_task} new ones "
                f"in each task, take {needed}; use {needed} or more, or a larger scenario.classes_per_task"
            )
        else:
            length = self.num_tasks
        if length * (num_new + num_known) > MOST_DRAWS:
            raise ConfigError(
                f"scenario.num_tasks={length}: so many tasks of {num_new + num_known} classes are too many"
            )
        return length
