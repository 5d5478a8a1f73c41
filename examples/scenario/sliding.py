"""A kind of stream: a window slides over the classes."""

from __future__ import annotations

from collections.abc import Sequence

from mergan.scenarios import Classes, StreamKind


class Sliding(StreamKind):
    """Task t has the classes t, t + 1, ... t + width - 1, so that neighbouring tasks share all but one.

    Args:
        width: classes of a task.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def tasks(self, classes: Classes, known: Sequence[int] = ()) -> list[list[int]]:
        """As many tasks as the window has places."""
        count = max(1, classes.count - self.width + 1)
        return [list(range(first, min(first + self.width, classes.count))) for first in range(count)]
