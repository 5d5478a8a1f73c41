"""The classes of a data set, given by number or by name, and their order in a stream."""

from __future__ import annotations

import difflib
import random
from collections.abc import Sequence

from mergan.system.errors import ConfigError
from mergan.system.text import shortened, shown

MOST_CLASSES = 10**6  # maximum number of classes to put into an order
MOST_LISTED = 10  # maximum number of class names in a message


class Classes:
    """The classes of a data set: numbers (labels) from 0, and their names if known.

    Before the data is read, possibly only the number of classes is known. Then each name counts as a
    separate class with a provisional label from `count` on, so the rest of the stream can be checked.

    Args:
        count: number of classes.
        names: class names in the order of the labels; None while they are unknown.

    Attributes:
        count: number of classes.
        names: class names, or None.
    """

    def __init__(self, count: int, names: Sequence[str] | None = None) -> None:
        self.count = count
        self.names = None if names is None else list(names)
        self._labels = {name: label for label, name in enumerate(self.names or ())}

    @classmethod
    def of(cls, classes: int | Sequence[str]) -> Classes:
        """Create it from the names of all classes, or only from their number."""
        return cls(classes) if isinstance(classes, int) else cls(len(classes), classes)

    def label(self, entry: int | str, key: str, where: str = "") -> int:
        """The label of a class that the configuration names.

        Args:
            entry: an integer is the label itself, a string is a name.
            key: the configuration key, for messages.
            where: an addition to the key in messages, e.g. " in task 1".

        Raises:
            ConfigError: there is no such class.
        """
        if isinstance(entry, str):
            if self.names is None:
                return self._labels.setdefault(entry, self.count + len(self._labels))
            if entry not in self._labels:
                raise ConfigError(f"{key}: no class is named {_quoted(entry)}{where}; {self._remedy(entry)}")
            return self._labels[entry]
        if isinstance(entry, bool) or not isinstance(entry, int) or not 0 <= entry < self.count:
            named = f"; the class of that name is written '{entry}'" if str(entry) in self._labels else ""
            raise ConfigError(
                f"{key}: unknown class {entry}{where}, the data set has classes 0 to {self.count - 1}{named}"
            )
        return entry

    def has(self, label: object) -> bool:
        """Whether `label` is the label of a class, including provisional labels."""
        provisional = len(self._labels) if self.names is None else 0
        whole = isinstance(label, int) and not isinstance(label, bool)
        return whole and 0 <= label < self.count + provisional  # type: ignore[operator]

    def text(self, label: int) -> str:
        """A class for a message: its number, plus the name if it differs from the number."""
        name = next((name for name, own in self._labels.items() if own == label), str(label))
        if label >= self.count:
            return _quoted(name)
        return str(label) if name == str(label) else f"{label} ({_quoted(name)})"

    def _remedy(self, name: str) -> str:
        assert self.names is not None
        if name.isdecimal() and int(name) < self.count:
            return f"the class of that number is written {int(name)}, without quotes"
        close = difflib.get_close_matches(name, self.names)
        if close:
            return f"did you mean {' or '.join(map(_quoted, close))}?"
        listed = ", ".join(map(_quoted, self.names[:MOST_LISTED]))
        more = f" and {self.count - MOST_LISTED} more" if self.count > MOST_LISTED else ""
        return f"the classes are {listed}{more}"


def _quoted(name: str) -> str:
    return f"'{shortened(shown(name))}'"


def ordered(
    classes: Classes,
    class_order: str | Sequence[int | str],
    order_seed: int,
    key: str = "scenario.class_order",
) -> list[int]:
    """The labels in the order in which they appear in a stream.

    Args:
        classes: classes of the data set.
        class_order: "fixed" (0, 1, 2, ...), "shuffled", or an explicit order of numbers and names, which may
            leave classes out.
        order_seed: seed of the shuffled order; the training seed has no influence.
        key: the configuration key that gives the order, for messages.

    Raises:
        ConfigError: the order is of another kind, has an unknown or repeated class, or too many classes.
    """
    if not isinstance(class_order, str):
        if not class_order:
            raise ConfigError(f"{key} is empty: name at least one class, e.g. [2,0,1]")
        order = [classes.label(entry, key) for entry in class_order]
        twice = _first_repeated(order)
        if twice is not None:
            raise ConfigError(f"{key}: class {classes.text(twice)} stands twice, name it once")
        return order
    if class_order not in ("fixed", "shuffled"):
        raise ConfigError(f"{key}={class_order}: use fixed, shuffled, or a list of classes such as [2,0,1]")
    if classes.count > MOST_CLASSES:
        raise ConfigError(
            f"data.num_classes={classes.count}: too many for a stream, name some in scenario.tasks"
        )
    order = list(range(classes.count))
    if class_order == "shuffled":
        random.Random(order_seed).shuffle(order)
    return order


def read_tasks(tasks: Sequence[Sequence[int | str]], classes: Classes) -> list[list[int]]:
    """The labels of explicit lists of classes (`scenario.tasks`); you can mix numbers and names.

    Raises:
        ConfigError: there is no task, or a task is empty, has an unknown class or a repeated one.
    """
    key = "scenario.tasks"
    if not tasks:
        raise ConfigError(f"{key} is empty: name at least one task, e.g. [[0,1],[2,3]]")
    found: list[list[int]] = []
    for index, entries in enumerate(tasks):
        if not entries:
            raise ConfigError(f"{key}: task {index} is empty, give it at least one class")
        labels = [classes.label(entry, key, f" in task {index}") for entry in entries]
        twice = _first_repeated(labels)
        if twice is not None:
            raise ConfigError(f"{key}: class {classes.text(twice)} is twice in task {index}, name it once")
        found.append(labels)
    return found


def _first_repeated(labels: Sequence[int]) -> int | None:
    seen: set[int] = set()
    for label in labels:
        if label in seen:
            return label
        seen.add(label)
    return None
