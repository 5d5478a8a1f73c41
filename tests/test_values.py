"""Every value has one source, conf/, and is held against the annotation of what it is for."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tiny
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MinLen
from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.config import hints, slots
from mergan.config.instantiate import annotations_of, check_types, instantiate, part
from mergan.config.ranges import Channels, Count, Count32, Fraction, Positive, Share
from mergan.config.schema import EvaluateConfig, SampleConfig, TrainConfig
from mergan.learners.objectives import NonSaturating
from mergan.run import automatic
from mergan.strategies.ewc import EWC
from mergan.system.errors import ConfigError

UNCOMPOSED = {"reproduce"}  # of a door that Hydra does not compose
GROUPS = sorted({path.name for path in (tiny.ROOT / "conf").iterdir() if path.is_dir()} - UNCOMPOSED)
WITH = {"sweep=clog_orders": ["scenario=clog"]}  # files that set values of another group


def choices(*groups: str) -> list[str]:
    """A word for every file of a group."""
    return [
        f"{group}={path.stem}"
        for group in groups
        for path in sorted((tiny.ROOT / "conf" / group).glob("*.yaml"))
    ]


def parts_of(cfg: DictConfig) -> Iterator[DictConfig]:
    """Every node of a configuration that names something to build."""
    if "_target_" in cfg:
        yield cfg
    for name in cfg:
        child = cfg._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none():
            yield from parts_of(child)


def own_parts() -> dict[str, DictConfig]:
    """The nodes that the files of conf/ themselves describe, by file and key."""
    found = {}
    conf = tiny.ROOT / "conf"
    for path in sorted(conf.rglob("*.yaml")):
        content = OmegaConf.load(path)
        assert isinstance(content, DictConfig)
        for node in parts_of(content):
            if node._target_.startswith("mergan."):
                found[f"{path.relative_to(conf)} {node._get_full_key(None)}"] = node
    return found


OWN = own_parts()


# ---------------------------------------------------------------- one source


@pytest.mark.parametrize("name", OWN)
def test_no_constructor_has_a_value_of_its_own(name: str) -> None:
    """One that differs from conf/ would hold wherever a key is left out."""
    node = OWN[name]
    for key, parameter in inspect.signature(slots.locate("_target_", node._target_)).parameters.items():
        if key in node and parameter.default is not inspect.Parameter.empty:
            assert not OmegaConf.is_interpolation(node, key), key
            assert parameter.default == node[key], key


@pytest.mark.parametrize("name", OWN)
def test_every_argument_has_an_annotation_that_can_be_read(name: str) -> None:
    """Without one its value would pass unseen."""
    node = OWN[name]
    annotations = annotations_of(slots.locate("_target_", node._target_))
    # config.stream takes `joined` for any kind of stream
    assert {str(key) for key in node} - {"_target_", "joined"} <= annotations.keys()


@pytest.mark.parametrize("word", choices(*GROUPS))
def test_every_value_of_conf_fits(word: str) -> None:
    cfg = config.compose(word, *WITH.get(word, []))
    assert not OmegaConf.missing_keys(cfg)
    config.check_fields(cfg, TrainConfig)
    links = config.links(cfg)
    for node in parts_of(cfg):
        key = node._get_full_key(None)
        given = {str(name): node[name] for name in node if name != "joined"}  # which is config.stream's
        for name in [name for name in given if given[name] is None]:
            if links.get(f"{key}.{name}", f"${{{key}.{name}}}")[2:-1] in automatic.KEYS:
                del given[name]  # the data decides it
        check_types(given, key)


@pytest.mark.parametrize(
    ("schema", "command"),
    [(TrainConfig, "train"), (EvaluateConfig, "evaluate"), (SampleConfig, "sample")],
)
def test_the_schema_has_no_values(schema: type, command: str) -> None:
    """Apart from what no file of conf/ sets."""
    empty, cfg = OmegaConf.structured(schema), config.compose(name=command)
    given = {key for key in _leaves(empty) if not key.startswith("caps")}
    assert not given
    assert OmegaConf.missing_keys(cfg) <= {"checkpoint"}


def _leaves(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in cfg:
        if OmegaConf.is_missing(cfg, name):
            continue
        if isinstance(cfg[name], DictConfig):
            yield from _leaves(cfg[name], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


# ---------------------------------------------------------------- types and ranges

GOOD: list[tuple[Any, Any]] = [
    (3, int), (3, float), (3.5, float), (True, bool), ("a", str), (None, str | None), ([1, 2], list[int]),
    ([1, 2], Sequence[float]), ((1, 2), list[int]), ([], Sequence[int]), ({"a": 1}, Mapping[str, int]),
    (1, Count), (2**62, Count), (2**31 - 1, Count32), (1e-30, Positive), (0, Share), (None, Count | None),
    (3, Channels), (3, Annotated[int, Channels]), ("a", Literal["a", "b"]), (5, int | list[int]),
    ([1], Annotated[list[int], MinLen(1)]), ([0, 0.9], Annotated[Sequence[Share], Len(2, 2)]),
    (object(), Path), ("anything", Any), (7, Annotated[int | str, Ge(1)]), ("x", Annotated[int | str, Ge(1)]),
    (4, Annotated[int, "a note"]),
]  # fmt: skip
BAD: list[tuple[Any, Any, str]] = [
    ("3", int, "a whole number"),
    (3.0, int, "a whole number"),
    (True, int, "a whole number"),
    (2**63, int, "a whole number"),
    (True, float, "a finite number"),
    (math.nan, float, "a finite number"),
    (math.inf, float, "a finite number"),
    (10**400, float, "a finite number"),
    (1, bool, "true or false"),
    (1, str, "a word"),
    ("x", int | None, "a whole number, or null"),
    (None, int, "a whole number"),
    ("ab", list[str], "a list of words"),
    ([1, "2"], list[int], "a list of whole numbers"),
    ("x", int | list[int], "a whole number or a list of whole numbers"),
    ([1], Mapping[str, int], "a mapping"),
    (0, Count, "a whole number of 1 or more"),
    (True, Count, "a whole number of 1 or more"),
    (1.0, Count, "a whole number of 1 or more"),
    (10**30, Count, "a whole number of 1 or more"),
    (0, Count | None, "a whole number of 1 or more, or null"),
    (2**31, Count32, "a whole number of 1 or more, below 2^31"),
    (0.0, Positive, "a number above 0"),
    (math.inf, Positive, "a number above 0"),
    (math.nan, Positive, "a number above 0"),
    (1, Share, "a number of 0 or more, below 1"),
    (0, Fraction, "a number between 0 and 1"),
    (1.5, Annotated[float, Interval(ge=0, le=1)], "a number from 0 to 1"),
    (0.5, Annotated[float, Interval(gt=0.5, le=1)], "a number above 0.5, at most 1"),
    (3, Annotated[int, Le(2)], "a whole number of 2 or less"),
    (2, Annotated[int, Lt(2)], "a whole number below 2"),
    (1, Annotated[int, Gt(1), Le(3)], "a whole number above 1, at most 3"),
    (2, Channels, "1 or 3"),
    (True, Channels, "1 or 3"),
    (1.0, Channels, "1 or 3"),
    (28, Annotated[int, Literal[16, 32, 64]], "16, 32 or 64"),
    ("c", Literal["a", "b"] | None, "a or b, or null"),
    ([], Annotated[list[int], MinLen(1)], "a list of 1 or more whole numbers"),
    ([0.5], Annotated[Sequence[Share], Len(2, 2)], "a list of 2 numbers of 0 or more, below 1"),
    ([0, 1], Annotated[Sequence[Share], Len(2, 2)], "a list of 2 numbers of 0 or more, below 1"),
    ([["a"], 1], list[list[int | str]], "a list of lists of whole numbers or words"),
    ("a", list[float], "a list of finite numbers"),
    ([1] * 4, Annotated[list[int], Len(1, 3)], "a list of 1 to 3 whole numbers"),
]


@pytest.mark.parametrize(("value", "hint"), GOOD)
def test_values_that_fit(value: Any, hint: Any) -> None:
    hints.check("key", value, hint)


@pytest.mark.parametrize(("value", "hint", "words"), BAD)
def test_values_that_do_not_fit_are_told_what_does(value: Any, hint: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        hints.check("some.key", value, hint)
    assert str(error.value) == f"some.key={hints.shown(value)}: use {words}"


def test_values_in_messages_are_written_as_in_yaml() -> None:
    assert [hints.shown(value) for value in (None, True, False, 3, "a")] == [
        "null",
        "true",
        "false",
        "3",
        "a",
    ]


# ---------------------------------------------------------------- nodes


NODE = {"_target_": "mergan.strategies.ewc.EWC", "weight": 3, "samples": 2, "decay": 1.0,
        "divide_by_classes": False}  # fmt: skip


@pytest.mark.parametrize("make", [dict, OmegaConf.create])
def test_plain_mappings_and_nodes_are_built_alike(make: Any) -> None:
    made = instantiate(make(NODE), "strategy")
    assert isinstance(made, EWC) and (made.weight, made.samples) == (3, 2)
    with pytest.raises(ConfigError, match=r"^strategy\.weight=-1: use a number of 0 or more$"):
        instantiate(make(NODE | {"weight": -1}), "strategy")
    with pytest.raises(ConfigError, match=r"^weight=null: use"):
        instantiate(make(NODE | {"weight": None}))


def test_a_node_knows_its_full_key() -> None:
    cfg = OmegaConf.create({"a": {"b": NODE | {"decay": 2}}})
    with pytest.raises(ConfigError, match=r"^a\.b\.decay=2: use a number from 0 to 1$"):
        instantiate(cfg.a.b)


def test_an_argument_that_is_left_out_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^strategy: .*'decay'"):
        instantiate({key: value for key, value in NODE.items() if key != "decay"}, "strategy")


class Louder(NonSaturating):
    """An objective of somebody else's, with an argument of its own."""

    def __init__(self, *, factor: typing.Annotated[float, Gt(1)] = 2.0, **weights: Any) -> None:
        super().__init__(**weights)
        self.factor = factor


def test_arguments_that_are_handed_on_are_checked_as_well() -> None:
    own = {"_target_": "test_values.Louder"}
    cfg = config.compose("objective.critic_steps=1", "objective.penalty_every=1", "objective.mode_seeking=0")
    cfg.objective.update(own)
    assert instantiate(cfg.objective).r1 == cfg.objective.r1
    for wrong in ({"factor": 1}, {"r1": -1}, {"critic_steps": 0.5}):
        OmegaConf.set_struct(cfg, False)
        changed = cfg.copy()
        changed.objective.update(wrong)
        (name,) = wrong
        with pytest.raises(ConfigError, match=rf"^objective\.{name}="):
            instantiate(changed.objective)


def test_a_part_is_that_of_conf_with_some_changes() -> None:
    strategy = part("strategy", "strategy=ewc", weight=7.0)
    cfg = config.compose("strategy=ewc").strategy
    assert (strategy.weight, strategy.samples) == (7.0, cfg.samples)
    shape = {"num_classes": 2, "channels": 1, "image_size": 16}
    generator = part(
        "network.generator", "embedding_dim=5", width=8, modulation="class", private_z=0, **shape
    )
    assert generator.project.in_features == 5
    with pytest.raises(ConfigError, match=r"^strategy\.samples=0: use a whole number of 1 or more$"):
        part("strategy", "strategy=ewc", samples=0)
    with pytest.raises(ConfigError, match=r"^strategies: conf/ has no part there$"):
        part("strategies")


def test_composing_gives_everybody_a_configuration_of_their_own() -> None:
    config.compose().lr = 5.0
    assert config.compose().lr != 5.0


# ---------------------------------------------------------------- the schema


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("lr=0.0", "a number above 0"),
        ("lr_d=nan", "a number above 0, or null"),
        ("batch_size=0", "a whole number of 1 or more, below 2^31"),
        ("steps_per_epoch=0", "a whole number of 1 or more, below 2^31, or null"),
        ("seed=-1", "a whole number of 0 or more, below 2^31"),
        ("data.image_size=28", "16, 32, 64 or 128, or null"),
        ("data.val_fraction=1.0", "a number between 0 and 1"),
        ("recovery.attempts=-1", "a whole number of 0 or more"),
        ("evaluation.k=0", "a whole number of 1 or more, below 2^31"),
        ("epochs=[1, 0]", "a whole number of 1 or more, below 2^31, a list with one per task, or null"),
        ("scenario.order_seed=-1", "a whole number of 0 or more, below 2^31"),
        ("scenario.classes_per_task=0", "a whole number of 1 or more, below 2^31, or null"),
        ("scenario.repetition=1.01", "a number from 0 to 1"),
    ],
)
def test_ranges_that_need_no_torch(word: str, wanted: str) -> None:
    choice = ["scenario=repetition"] if "repetition" in word else []
    with pytest.raises(ConfigError) as error:
        config.check_values(config.compose(*choice, word))
    assert str(error.value) == f"{word}: use {wanted}"


@pytest.mark.parametrize("key", ["lr", "data.channels", "evaluation.k", "strategy", "learner.ema"])
def test_values_that_nobody_has_set_are_named(key: str) -> None:
    """Also where other values are taken from them."""
    cfg = config.compose()
    OmegaConf.update(cfg, key, "???", merge=False)
    with pytest.raises(ConfigError) as error:
        config.check_values(cfg)
    assert str(error.value) == f"{key}: is missing; give it with {key}=..."
