"""Class-incremental streams in one of several listed orders, as benchmarks publish them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt

from mergan.scenarios.base import StreamKind
from mergan.scenarios.classes import Classes, ordered
from mergan.system.errors import ConfigError


class ListedOrders(StreamKind):
    """Tasks with disjoint classes, as many per task, in an order that is chosen by its number.

    Args:
        classes_per_task: number of classes per task; the last task gets the remaining ones.
        orders: the orders, each of numbers and names of classes.
        order: which of them, from 0.

    Raises:
        ConfigError: there is no order of that number.
    """

    def __init__(
        self,
        classes_per_task: Annotated[int, Ge(1), Lt(2**31)],
        orders: Sequence[Sequence[int | str]],
        order: Annotated[int, Ge(0)],
    ) -> None:
        if order >= len(orders):
            raise ConfigError(f"scenario.order={order}: scenario.orders has {len(orders)}, counted from 0")
        self.classes_per_task = classes_per_task
        self.order = order
        self.chosen = orders[order]

    def tasks(self, classes: Classes, known: Sequence[int] = ()) -> list[list[int]]:
        """Disjoint lists of labels, none of them in `known`.

        Raises:
            ConfigError: no class is left; also the errors of `ordered`.
        """
        found = ordered(classes, self.chosen, 0, f"scenario.orders[{self.order}]")
        left = [label for label in found if label not in set(known)]
        if not left:
            raise ConfigError(f"scenario.order={self.order}: init_from already knows every class of it")
        size = self.classes_per_task
        return [left[first : first + size] for first in range(0, len(left), size)]
