"""Class-incremental streams: every task has classes that no other task has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt

from mergan.scenarios.base import StreamKind
from mergan.scenarios.classes import Classes, ordered, read_tasks
from mergan.system.errors import ConfigError


class ClassIncremental(StreamKind):
    """Tasks with disjoint classes, the setting of Memory Replay GANs (Wu et al. 2018, arXiv 1809.02058).

    Args:
        classes_per_task: number of classes per task; the last task gets the remaining ones.
        tasks: alternatively, explicit lists of classes, by number or by name; you may leave classes out.
        class_order: "fixed" (0, 1, 2, ...), "shuffled" (by `order_seed`) or an explicit order of numbers and
            names; only used with `classes_per_task`.
        order_seed: seed of the shuffled order, independent of the training seed.
    """

    def __init__(
        self,
        classes_per_task: Annotated[int, Ge(1), Lt(2**31)] | None,
        tasks: Sequence[Sequence[int | str]] | None,
        class_order: str | Sequence[int | str],
        order_seed: Annotated[int, Ge(0), Lt(2**31)],
    ) -> None:
        self.classes_per_task = classes_per_task
        self.explicit = tasks
        self.class_order = class_order
        self.order_seed = order_seed

    def tasks(self, classes: Classes, known: Sequence[int] = ()) -> list[list[int]]:
        """Disjoint lists of labels, none of them in `known`.

        Raises:
            ConfigError: neither rule is given, no class is left, or a class is in two tasks or already
                known; also the errors of `read_tasks` and `ordered`.
        """
        if self.explicit is not None:
            chosen = read_tasks(self.explicit, classes)
            _check_disjoint(chosen, classes, known)
            return chosen
        if self.classes_per_task is None:
            raise ConfigError("scenario: give scenario.classes_per_task or explicit scenario.tasks")
        earlier = set(known)
        order = ordered(classes, self.class_order, self.order_seed)
        order = [label for label in order if label not in earlier]
        if not order:
            raise ConfigError(
                "scenario: init_from already knows every class; name new ones in scenario.tasks"
            )
        size = self.classes_per_task
        return [order[i : i + size] for i in range(0, len(order), size)]


def _check_disjoint(tasks: list[list[int]], classes: Classes, known: Sequence[int]) -> None:
    place: dict[int, int] = {}
    learned = set(known)
    for index, labels in enumerate(tasks):
        for label in labels:
            if label in place:
                raise ConfigError(
                    f"scenario.tasks: class {classes.text(label)} is in task {place[label]} and again in "
                    f"task {index}, each class belongs to one task; with scenario=repetition it may come back"
                )
            if label in learned:
                raise ConfigError(
                    f"scenario.tasks: class {classes.text(label)} in task {index} was already learned in "
                    "init_from, leave it out"
                )
            place[label] = index
