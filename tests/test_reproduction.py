"""docs/reproduction.md holds the presets of the sources, setting by setting."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny
from omegaconf import DictConfig, OmegaConf

from mergan import config

PAGE = (tiny.ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
FOLDER = tiny.ROOT / "conf" / "experiment"
PRESETS = sorted(path.stem for kind in ("paper", "v2") for path in FOLDER.glob(f"{kind}_*.yaml"))
GROUPS = ("data", "network", "objective", "augmentation")  # whose choice a row may name


class Row(NamedTuple):
    """A row of a table: the presets that it holds for, and the settings of them that it names."""

    presets: tuple[str, ...]
    settings: tuple[str, ...]


def spans(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def rows() -> Iterator[Row]:
    for table in PAGE.split("| presets | source | preset | why |\n|---|---|---|---|\n")[1:]:
        for line in table.split("\n\n")[0].splitlines():
            patterns, _, settings, _ = line.strip("| ").split(" | ")
            matched = [name for name in PRESETS if any(fnmatchcase(name, one) for one in spans(patterns))]
            yield Row(tuple(matched), spans(settings))


ROWS = list(rows())


@cache
def preset(name: str) -> DictConfig:
    return config.compose(f"experiment={name}")


def targets(node: Any) -> dict[str, str]:
    """The classes that a group of the configuration names, by key."""
    found = {}
    for key, value in node.items():
        if isinstance(value, DictConfig):
            found |= {f"{key}.{below}": target for below, target in targets(value).items()}
        elif key == "_target_":
            found[key] = value
    return found


@cache
def choice(word: str) -> dict[str, str]:
    return targets(config.compose(word)[word.split("=")[0]])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.settings[0])
def test_the_presets_have_the_settings_of_the_table(row: Row) -> None:
    assert row.presets and row.settings
    for name in row.presets:
        for word in row.settings:
            key = word.split("=")[0]
            if key in GROUPS:
                assert targets(preset(name)[key]) == choice(word), f"{name}: {word}"
            else:
                given = OmegaConf.select(OmegaConf.from_dotlist([word]), key)
                assert OmegaConf.select(preset(name), key, throw_on_missing=True) == given, f"{name}: {word}"


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_names_every_setting_that_a_preset_makes(name: str) -> None:
    named = {word.split("=")[0] for row in ROWS if name in row.presets for word in row.settings}
    assert set(settings_of(f"{name}.yaml")) <= named


def settings_of(file: str) -> Iterator[str]:
    """The keys that a file of conf/experiment/ and those that it is made from set."""
    content: Any = OmegaConf.to_container(OmegaConf.load(FOLDER / file))
    for entry in content.pop("defaults"):
        if isinstance(entry, str) and entry != "_self_":
            yield from settings_of(f"{Path(file).parent / entry}.yaml")
    yield from leaves(content)


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
