"""Which classes are learned when: dividing classes into tasks, and tasks into epochs."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
import tiny
import warm
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from tiny import stream_kind

from mergan import config
from mergan.scenarios import Classes, Scenario, StreamKind
from mergan.scenarios.class_incremental import ClassIncremental
from mergan.scenarios.repetition import Repetition
from mergan.system.errors import ConfigError

Compose = Callable[..., DictConfig]

KINDS = {"class_incremental": ClassIncremental, "repetition": Repetition}


def divided(num_classes: int, known: Sequence[int] = (), **arguments: Any) -> list[list[int]]:
    """The tasks of a class-incremental stream over classes without names."""
    return stream_kind("class_incremental", **arguments).tasks(Classes(num_classes), known)


def test_classes_per_task_leaves_the_rest_to_the_last_task() -> None:
    assert divided(5, classes_per_task=2) == [[0, 1], [2, 3], [4]]
    assert divided(3, classes_per_task=1) == [[0], [1], [2]]


def test_explicit_tasks_are_taken_as_they_are_and_may_leave_classes_out() -> None:
    assert divided(6, classes_per_task=1, tasks=[[4, 0], [2]]) == [[4, 0], [2]]


def test_explicit_order_decides_which_classes_come_first() -> None:
    assert divided(4, classes_per_task=2, class_order=[3, 1, 0, 2]) == [[3, 1], [0, 2]]


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_order_depends_on_its_own_seed_alone(kind: str) -> None:
    settings = {"classes_per_task": 10, "class_order": "shuffled"}
    first, again, other = (
        stream_kind(kind, **settings, order_seed=seed).tasks(Classes(10))[0] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert first != list(range(10))
    assert sorted(first) == sorted(other) == list(range(10))


def test_shuffled_orders_are_those_of_earlier_versions() -> None:
    (order,) = divided(10, classes_per_task=10, class_order="shuffled", order_seed=3)
    assert order == [1, 5, 6, 0, 9, 4, 7, 2, 8, 3]


def test_classes_per_task_divides_only_what_is_not_known_yet() -> None:
    assert divided(5, known=(0, 3), classes_per_task=2) == [[1, 2], [4]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": [[0, 1], [2, 1]]}, r"class 1 is in task 0 and again in task 1.*scenario=repetition"),
        ({"tasks": [[0, 0]]}, r"class 0 is twice in task 0"),
        ({"tasks": [[0], [4]]}, r"unknown class 4 in task 1, the data set has classes 0 to 3"),
        ({"tasks": [[-1]]}, r"unknown class -1 in task 0"),
        ({"tasks": [[True]]}, r"scenario\.tasks=\[\[True\]\]: use a list of lists of whole numbers or words"),
        ({"tasks": [[0], []]}, r"task 1 is empty"),
        ({"tasks": []}, r"scenario\.tasks is empty"),
        ({"tasks": [[0], [1]], "known": (1,)}, r"class 1 in task 1 was already learned in init_from"),
        ({"classes_per_task": 1, "known": (0, 1, 2, 3)}, r"init_from already knows every class"),
        ({"classes_per_task": 1, "class_order": "random"}, r"scenario\.class_order=random"),
        ({"classes_per_task": 2, "class_order": [0, 0, 1]}, r"class_order: class 0 stands twice"),
        ({"classes_per_task": 2, "class_order": []}, r"class_order is empty"),
        ({"classes_per_task": 2, "class_order": [0, 9]}, r"class_order: unknown class 9"),
        ({"classes_per_task": None}, r"give scenario\.classes_per_task or explicit scenario\.tasks"),
        ({"classes_per_task": 0}, r"scenario\.classes_per_task=0: use"),
        ({"order_seed": -1}, r"scenario\.order_seed=-1: use"),
    ],
)
def test_streams_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        divided(4, **arguments)


# ---------------------------------------------------------------- names

PETS = ["ape", "bird", "cat", "dog"]


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_and_orders_take_names_and_numbers(kind: str) -> None:
    classes = Classes.of(PETS)
    explicit = stream_kind(kind, tasks=[["cat", "dog"], ["bird", 0]])
    assert explicit.tasks(classes) == [[2, 3], [1, 0]]
    ordered = stream_kind(kind, classes_per_task=4, class_order=["dog", 0, "cat"]).tasks(classes)
    assert ordered[0] == [3, 0, 2]


def test_a_number_is_a_label_and_a_string_a_name() -> None:
    classes = Classes.of(["2", "1", "0"])
    assert stream_kind("class_incremental", tasks=[["2"], [2], ["1"]]).tasks(classes) == [[0], [2], [1]]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([["cta"]], r"scenario\.tasks: no class is named 'cta' in task 0; did you mean 'cat'\?"),
        ([["ape"], ["zebra"]], r"'zebra' in task 1; the classes are 'ape', 'bird', 'cat', 'dog'$"),
        ([["3"]], r"no class is named '3' in task 0; the class of that number is written 3, without quotes"),
        ([["\x1b[2J"]], r"no class is named '\\x1b\[2J'"),
        ([["cat"], [2]], r"class 2 \('cat'\) is in task 0 and again in task 1"),
        ([["cat", 2]], r"class 2 \('cat'\) is twice in task 0"),
    ],
)
def test_names_that_no_class_has_are_refused_with_a_remedy(tasks: list[list[Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        stream_kind("class_incremental", tasks=tasks).tasks(Classes.of(PETS))
    assert "\n" not in str(caught.value)


def test_a_number_out_of_range_that_is_a_name_is_told_so() -> None:
    with pytest.raises(ConfigError, match=r"unknown class 30 .* classes 0 to 1; .* written '30'"):
        stream_kind("class_incremental", tasks=[[30]]).tasks(Classes.of(["10", "30"]))


def test_many_names_are_not_all_listed() -> None:
    with pytest.raises(ConfigError, match=r"'c9' and 990 more$"):
        stream_kind("class_incremental", tasks=[["?"]]).tasks(
            Classes.of([f"c{label}" for label in range(1000)])
        )


def test_before_the_data_is_read_everything_but_the_names_is_checked() -> None:
    unnamed = Classes.of(3)
    stream = stream_kind("class_incremental", tasks=[["cat", 1], ["dog"]]).scenario(unnamed, epochs=[1, 2])
    assert [len(task.classes) for task in stream.tasks] == [2, 1]
    for tasks, message in (
        ([["cat"], ["cat"]], r"class 'cat' is in task 0 and again in task 1"),
        ([["cat", "cat"]], r"class 'cat' is twice"),
        ([["cat"], [3]], r"unknown class 3 in task 1"),
        ([["cat"]], r"epochs=\[1, 2\]: 2 entries for 1 task"),
    ):
        with pytest.raises(ConfigError, match=message):
            stream_kind("class_incremental", tasks=tasks).scenario(unnamed, epochs=[1, 2])


# ---------------------------------------------------------------- the stream


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
        stream = stream_kind("class_incremental", tasks=tasks).scenario(
            Classes(num_classes), epochs, joined=joined
        )
    except ConfigError as error:
        message = str(error)
    else:
        message = ""
        assert list(stream.classes) == flat
        assert [list(task.classes) for task in stream.tasks] == ([flat] if joined else tasks)
        seen: tuple[int, ...] = ()
        for index, task in enumerate(stream.tasks):
            assert (task.index, task.past, task.before) == (index, seen, seen)
            assert (task.new, task.returning) == (task.classes, ())
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
    kind = stream_kind("class_incremental", classes_per_task=per_task, class_order=order, order_seed=seed)
    tasks = kind.tasks(Classes(num_classes), known)
    flat = [label for classes in tasks for label in classes]
    assert sorted([*flat, *known]) == list(range(num_classes))
    assert [len(classes) for classes in tasks[:-1]] == [per_task] * (len(tasks) - 1)
    assert 1 <= len(tasks[-1]) <= per_task
    assert order == "shuffled" or flat == sorted(flat)
    assert tasks == kind.tasks(Classes(num_classes), known)


@given(num_classes=st.integers(1, 6), order=st.lists(st.integers(-1, 7), min_size=1, max_size=8))
def test_explicit_orders_are_kept_or_refused(num_classes: int, order: list[int]) -> None:
    valid = len(set(order)) == len(order) and all(0 <= label < num_classes for label in order)
    try:
        tasks = divided(num_classes, classes_per_task=2, class_order=order)
    except ConfigError:
        assert not valid
    else:
        assert valid and [label for classes in tasks for label in classes] == order


# ---------------------------------------------------------------- the configuration


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_of_a_kind_has_a_value_for_every_argument(kind: str) -> None:
    with (tiny.ROOT / "conf" / "scenario" / f"{kind}.yaml").open(encoding="utf-8") as file:
        values = yaml.safe_load(file)
    assert values.pop("_target_") == f"{KINDS[kind].__module__}.{KINDS[kind].__qualname__}"
    assert values.pop("joined") is False
    assert values.keys() == inspect.signature(KINDS[kind]).parameters.keys()


class Backwards(StreamKind):
    """A kind of one's own: the last class first, each task as large as `sizes` says."""

    def __init__(self, sizes: Sequence[int], wrong: str | None = None) -> None:
        self.sizes, self.wrong = sizes, wrong

    def tasks(self, classes: Classes, known: Sequence[int] = ()) -> list[list[int]]:
        wrong = {"empty": [[]], "unknown": [[classes.count]], "twice": [[0, 0]], "none": []}
        if self.wrong is not None:
            return wrong[self.wrong]
        order = [label for label in reversed(range(classes.count)) if label not in known]
        return [[order.pop(0) for _ in range(size)] for size in self.sizes]


def own(cfg: DictConfig, **arguments: Any) -> DictConfig:
    """A configuration whose stream is of this kind."""
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    joined = {"joined": True} if cfg.scenario.joined else {}
    cfg.scenario = {"_target_": "test_scenario.Backwards", "sizes": [1, 3], **joined, **arguments}
    config.check(cfg)
    return cfg


def test_a_kind_of_ones_own_needs_no_more_than_a_target(compose: Compose) -> None:
    stream = config.scenario(own(compose()), 4)
    assert [task.classes for task in stream.tasks] == [(3,), (2, 1, 0)]
    joined = config.scenario(own(compose("strategy=joint")), 4)
    assert [(task.classes, task.span) for task in joined.tasks] == [((3, 2, 1, 0), 2)]
    for strategy, classes in (("finetune", [(3,)]), ("joint", [(3,)])):
        smoke = own(compose(f"strategy={strategy}", "debug=smoke", "caps.tasks=1"))
        assert [task.classes for task in config.scenario(smoke, 4).tasks] == classes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wrong": "empty"}, r"scenario: Backwards makes task 0 without a class"),
        ({"wrong": "unknown"}, r"scenario: Backwards makes task 0 with the unknown class 4"),
        ({"wrong": "twice"}, r"scenario: Backwards makes task 0 with a class that stands twice"),
        ({"wrong": "none"}, r"scenario: Backwards makes no task"),
        ({"sise": 3}, r"scenario\.sise=3: Backwards has no such setting"),
        ({"sizes": [1, "a"]}, r"scenario\.sizes=\[1, 'a'\]: use a list of whole numbers"),
        ({"joined": "maybe"}, r"scenario\.joined=maybe: use true or false"),
        ({"_target_": "tiny.Painter"}, r"scenario\._target_=tiny\.Painter: this is none; use a StreamKind"),
    ],
)
def test_what_a_kind_of_ones_own_does_wrong_is_said(
    compose: Compose, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        own(compose(), **arguments)


OWN_MODULE = """
from mergan.scenarios import StreamKind

class EvenFirst(StreamKind):
    def __init__(self, step: int = 2) -> None:
        self.step = step

    def tasks(self, classes, known=()):
        return [list(range(start, classes.count, self.step)) for start in range(self.step)]
"""


def test_a_kind_of_another_package_works_from_its_own_folder(cache_dir: Path, tmp_path: Path) -> None:
    """Trained, gone on with, sampled and measured; the only files are a module and its YAML."""
    (tmp_path / "own" / "scenario").mkdir(parents=True)
    (tmp_path / "own" / "even_first.py").write_text(OWN_MODULE, encoding="utf-8")
    (tmp_path / "own" / "scenario" / "even_first.yaml").write_text(
        "_target_: even_first.EvenFirst\nstep: 2\n"
    )
    settings = [part for part in tiny.SETTINGS if not part.startswith("scenario")]
    place = ["--config-dir", "own", f"cache_dir={cache_dir}"]
    train = [str(tiny.ROOT / "train.py"), *settings, *place, "scenario=even_first", "strategy=finetune"]
    environment = {"PYTHONPATH": "own"}

    typo = warm.run([*train, "scenario.stepp=3"], tmp_path, environment)
    assert typo.returncode == 2
    assert typo.stderr.startswith("error: unknown key scenario.stepp; did you mean scenario.step?")
    done = warm.run([*train, "epochs=1", "hydra.run.dir=run"], tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert "classes 0,2 " in done.stdout and "classes 1,3 " in done.stdout

    last = "run/checkpoints/last.ckpt"
    (tmp_path / "run" / "metrics.json").unlink()
    shutil.copy(tmp_path / "run" / "checkpoints" / "task_00.ckpt", tmp_path / last)
    words = [str(tiny.ROOT / "train.py"), f"ckpt_path={last}", *place]
    again = warm.run(words, tmp_path, environment)
    assert again.returncode == 0 and "going on at task 2/2" in again.stdout, again.stderr
    for command in (["-m", "mergan.sample", "per_class=1"], ["-m", "mergan.evaluate", place[-1]]):
        refused = warm.run([*command, f"checkpoint={last}"], tmp_path, environment)
        assert refused.returncode == 2 and "trust=[even_first]" in refused.stderr
        trusted = warm.run([*command, f"checkpoint={last}", "trust=[even_first]"], tmp_path, environment)
        assert trusted.returncode == 0, trusted.stderr


def test_too_many_tasks_are_refused_before_they_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"20000 tasks with 20000 classes in all are too many"):
        stream_kind("class_incremental", classes_per_task=1).scenario(Classes(20_000), epochs=1)
    (task,) = (
        stream_kind("class_incremental", classes_per_task=1)
        .scenario(Classes(20_000), epochs=1, joined=True)
        .tasks
    )
    assert (len(task.classes), task.span) == (20_000, 20_000)
    for kind in (stream_kind("class_incremental"), stream_kind("repetition", num_tasks=None)):
        with pytest.raises(ConfigError, match=r"data\.num_classes=2000000000: too many"):
            kind.tasks(Classes(2_000_000_000))
    with pytest.raises(ConfigError, match=r"scenario\.num_tasks=2000000000: .*too many"):
        stream_kind("repetition", num_tasks=2_000_000_000).tasks(Classes(10))


def test_a_stream_is_told_in_one_line() -> None:
    stream = Scenario.from_classes([[1, 2], [0, 1]], epochs=1)
    assert stream.text(["ape", "b\nd", "c" * 60]) == rf"b\x0ad,{'c' * 20}…{'c' * 19} | ape,(b\x0ad)"


TEXT = (tiny.ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_documentation_describe_streams(command: str) -> None:
    words = [
        re.sub(r"order_seed=0,.*", "order_seed=4", word) for word in shlex.split(command)[2:] if word != "-m"
    ]
    config.register()
    with hydra.initialize_config_dir(config_dir=str(tiny.ROOT / "conf"), version_base="1.3"):
        cfg = hydra.compose("train", words)
    config.check(cfg)
    assert config.scenario(cfg, ["bird", "cat", "dog", *map(str, range(7))]).tasks


def test_every_choice_and_key_is_documented() -> None:
    for path in (tiny.ROOT / "conf" / "scenario").glob("*.yaml"):
        assert f"`{path.stem}`" in TEXT
        for key in set(yaml.safe_load(path.read_text(encoding="utf-8"))) - {"_target_", "defaults", "joined"}:
            assert f"`{key}`" in TEXT, key
