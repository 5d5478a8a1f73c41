"""Which classes are learned when: dividing classes into tasks, and tasks into epochs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergan.scenarios.base import Scenario, split_classes
from mergan.system.errors import ConfigError


def test_classes_per_task_leaves_the_rest_to_the_last_task() -> None:
    assert split_classes(5, classes_per_task=2) == [[0, 1], [2, 3], [4]]
    assert split_classes(3, classes_per_task=1) == [[0], [1], [2]]


def test_explicit_tasks_are_taken_as_they_are_and_may_leave_classes_out() -> None:
    assert split_classes(6, classes_per_task=1, tasks=[[4, 0], [2]]) == [[4, 0], [2]]


def test_explicit_order_decides_which_classes_come_first() -> None:
    assert split_classes(4, classes_per_task=2, class_order=[3, 1, 0, 2]) == [[3, 1], [0, 2]]


def test_shuffled_order_depends_on_its_own_seed_alone() -> None:
    first, again, other = (
        split_classes(10, classes_per_task=10, class_order="shuffled", order_seed=seed)[0]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert first != list(range(10))
    assert sorted(first) == sorted(other) == list(range(10))


def test_classes_per_task_divides_only_what_is_not_known_yet() -> None:
    assert split_classes(5, classes_per_task=2, known=(0, 3)) == [[1, 2], [4]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": [[0, 1], [2, 1]]}, r"class 1 is in task 0 and again in task 1"),
        ({"tasks": [[0, 0]]}, r"class 0 is in task 0 and again in task 0"),
        ({"tasks": [[0], [4]]}, r"unknown class 4 in task 1, the data set has classes 0 to 3"),
        ({"tasks": [[-1]]}, r"unknown class -1 in task 0"),
        ({"tasks": [[True]]}, r"unknown class True in task 0"),
        ({"tasks": [[0], []]}, r"task 1 is empty"),
        ({"tasks": []}, r"scenario\.tasks is empty"),
        ({"tasks": [[0], [1]], "known": (1,)}, r"class 1 in task 1 was already learned in init_from"),
        ({"classes_per_task": 1, "known": (0, 1, 2, 3)}, r"init_from already knows every class"),
        ({"classes_per_task": 1, "class_order": "random"}, r"scenario\.class_order=random"),
        (
            {"classes_per_task": 2, "class_order": [0, 0, 1]},
            r"class_order: unknown or repeated class 0",
        ),
        ({"classes_per_task": 2, "class_order": [0, 9]}, r"unknown or repeated class 9"),
        ({}, r"give scenario\.classes_per_task or explicit scenario\.tasks"),
    ],
)
def test_streams_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_classes(4, **arguments)


def test_each_epoch_belongs_to_its_task() -> None:
    stream = Scenario.from_classes([[0], [1], [2]], epochs=[2, 1, 3])
    assert [stream.task_at(epoch).index for epoch in range(6)] == [0, 0, 1, 2, 2, 2]
    assert [(task.first_epoch, task.last_epoch) for task in stream.tasks] == [(0, 1), (2, 2), (3, 5)]
    assert stream.total_epochs == 6
    assert stream.task_at(6).index == 2  # Lightning asks once more when it is done


def test_one_number_of_epochs_holds_for_every_task() -> None:
    stream = Scenario.from_classes([[0], [1]], epochs=3)
    assert [task.epochs for task in stream.tasks] == [3, 3]
    assert [stream.task_at(epoch).index for epoch in range(6)] == [0, 0, 0, 1, 1, 1]


def test_past_classes_accumulate_in_the_order_learned() -> None:
    stream = Scenario.from_classes([[3], [0, 2], [1]], epochs=1)
    assert [task.past for task in stream.tasks] == [(), (3,), (3, 0, 2)]
    assert [task.seen for task in stream.tasks] == [(3,), (3, 0, 2), (3, 0, 2, 1)]
    assert stream.classes == (3, 0, 2, 1)


def test_known_classes_are_past_from_the_first_task_on() -> None:
    stream = Scenario.from_classes([[2], [1]], epochs=1, known=(5, 0))
    assert [task.past for task in stream.tasks] == [(5, 0), (5, 0, 2)]
    assert stream.classes == (5, 0, 2, 1)


def test_joined_stream_is_one_task_that_stands_for_all() -> None:
    (task,) = Scenario.from_classes([[2], [0, 1], [3]], epochs=4, joined=True).tasks
    assert (task.classes, task.past, task.epochs, task.span) == ((2, 0, 1, 3), (), 4, 3)
    assert Scenario.from_classes([[0], [1]], epochs=[7], joined=True).total_epochs == 7
    assert {task.span for task in Scenario.from_classes([[0], [1]], epochs=1).tasks} == {1}


@pytest.mark.parametrize(("epochs", "joined"), [([1], False), ([1, 2, 3], False), ([1, 2], True)])
def test_list_of_epochs_must_fit_the_tasks(epochs: list[int], joined: bool) -> None:
    with pytest.raises(ConfigError, match=rf"{len(epochs)} entries for {1 if joined else 2} task"):
        Scenario.from_classes([[0], [1]], epochs, joined=joined)


# ---------------------------------------------------------------- any stream at all

ANY_TASKS = st.lists(st.lists(st.integers(-2, 8), max_size=4), max_size=5)


@given(num_classes=st.integers(1, 8), tasks=ANY_TASKS, epochs=st.integers(1, 4), joined=st.booleans())
def test_explicit_streams_cover_their_classes_once_and_in_order_or_are_refused(
    num_classes: int, tasks: list[list[int]], epochs: int, joined: bool
) -> None:
    flat = [label for classes in tasks for label in classes]
    valid = (
        bool(tasks)
        and all(tasks)
        and len(set(flat)) == len(flat)
        and all(0 <= label < num_classes for label in flat)
    )
    try:
        stream = Scenario.from_classes(split_classes(num_classes, tasks=tasks), epochs, joined=joined)
    except ConfigError as error:
        message = str(error)
    else:
        message = ""
        assert list(stream.classes) == flat
        assert [list(task.classes) for task in stream.tasks] == ([flat] if joined else tasks)
        seen: tuple[int, ...] = ()
        for index, task in enumerate(stream.tasks):
            assert (task.index, task.past) == (index, seen)
            seen = task.seen
            assert all(stream.task_at(task.first_epoch + epoch) == task for epoch in range(task.epochs))
        assert stream.total_epochs == sum(task.epochs for task in stream.tasks)
    assert (message == "") == valid
    assert "\n" not in message


@given(
    num_classes=st.integers(1, 12),
    per_task=st.integers(1, 14),
    order=st.sampled_from(["fixed", "shuffled"]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_divided_streams_cover_every_class_that_is_not_known(
    num_classes: int, per_task: int, order: str, seed: int, data: st.DataObject
) -> None:
    known = data.draw(st.lists(st.integers(0, num_classes - 1), unique=True, max_size=num_classes - 1))
    tasks = split_classes(num_classes, per_task, class_order=order, order_seed=seed, known=known)
    flat = [label for classes in tasks for label in classes]
    assert sorted([*flat, *known]) == list(range(num_classes))
    assert [len(classes) for classes in tasks[:-1]] == [per_task] * (len(tasks) - 1)
    assert 1 <= len(tasks[-1]) <= per_task
    assert order == "shuffled" or flat == sorted(flat)
    assert tasks == split_classes(num_classes, per_task, class_order=order, order_seed=seed, known=known)


@given(num_classes=st.integers(1, 6), order=st.lists(st.integers(-1, 7), min_size=1, max_size=8))
def test_explicit_orders_are_kept_or_refused(num_classes: int, order: list[int]) -> None:
    valid = len(set(order)) == len(order) and all(0 <= label < num_classes for label in order)
    try:
        tasks = split_classes(num_classes, 2, class_order=order)
    except ConfigError:
        assert not valid
    else:
        assert valid and [label for classes in tasks for label in classes] == order
