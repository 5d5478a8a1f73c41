"""Runs grouped by setting: everything in which their configurations differ, except the seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mergan import config
from mergan.reporting.runs import Run
from mergan.system.text import natural_order, shortened, shown

ABSENT = "-"  # a setting that a configuration does not have
LONGEST = 60  # characters of a setting's name
SEED, TARGET = "seed", "_target_"
FOLLOWING = (SEED, "order_seed", "order")  # last parts of keys that may be composed as `${seed}`
# what names a setting first, where it suffices to tell the settings apart
FIRST = ("strategy._target_", "network.name", "network.generator._target_", "objective._target_",
         "learner._target_", "data.source.dataset", "data.source._target_", "lr", "epochs", "batch_size",
         "embedding_dim", "steps_per_epoch", "strategy", "scenario", "learner", "objective", "network",
         "data", "evaluation")  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed alone.

    Attributes:
        name: short, and unique in the report.
        values: its value of every key in which the settings differ, as text.
        runs: one per seed.
        repeats: further runs with a seed that `runs` has already; they do not count.
    """

    name: str
    values: Mapping[str, str]
    runs: Sequence[Run]
    repeats: Sequence[Run]

    @property
    def strategy(self) -> str:
        """Its strategy, as on the command line."""
        return text_of(flat(self.runs[0].config), "strategy._target_")

    def by_seed(self) -> dict[str, Run]:
        """Its runs, by seed."""
        return {seed_of(run): run for run in self.runs}


def seed_of(run: Run) -> str:
    """The seed of a run, as text."""
    return text_of(run.config, SEED)


def label_of(run: Run, setting: Setting) -> str:
    """The name of a run in the report."""
    return f"{setting.name}, seed {seed_of(run)}"


def grouped(runs: Sequence[Run]) -> list[Setting]:
    """The settings of some runs, in the order of their first runs; there is at least one run."""
    tables = [flat(run.config) for run in runs]
    keys = _differing(tables)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run, table in zip(runs, tables, strict=True):
        groups.setdefault(tuple(text_of(table, key) for key in keys), []).append(run)
    names = _names(keys, list(groups), text_of(tables[0], FIRST[0]))
    settings = []
    for name, (values, members) in zip(names, groups.items(), strict=True):
        first = {seed_of(run): run for run in reversed(members)}
        chosen = sorted(first.values(), key=lambda run: natural_order(seed_of(run)))
        repeats = [run for run in members if first[seed_of(run)] is not run]
        settings.append(Setting(name, dict(zip(keys, values, strict=True)), chosen, repeats))
    return settings


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a nested configuration by dotted key; lists are values."""
    if not isinstance(node, Mapping) or (prefix and not node):
        return {prefix: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def text_of(table: Mapping[str, Any], key: str) -> str:
    """A value as text: a strategy of mergan as it is typed, other classes by their names."""
    value = table.get(key)
    if value is None:
        return ABSENT if key not in table else "null"
    text = str(value)
    if key.rpartition(".")[2] == TARGET:
        module, _, name = text.rpartition(".")
        return module.rpartition(".")[2] if module.startswith("mergan.strategies.") else name
    return text if not isinstance(value, bool) else text.lower()


def _differing(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which configurations differ in more than the seed and where files are."""
    keys = dict.fromkeys(key for table in tables for key in table)
    found = [key for key in keys if len({text_of(table, key) for table in tables}) > 1]
    return [key for key in found if _matters(key) and not _follows_the_seed(key, tables)]


def _matters(key: str) -> bool:
    """Whether a setting changes what is learned or measured."""
    return key == "init_from" or not config.harmless(key)


def _follows_the_seed(key: str, tables: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a key is the seed, or was composed as `${seed}`."""
    return key.rpartition(".")[2] in FOLLOWING and all(
        table[key] == table.get(SEED) for table in tables if key in table
    )


def _names(keys: Sequence[str], groups: Sequence[tuple[str, ...]], strategy: str) -> list[str]:
    """A name per group: the values of the fewest keys that tell all groups apart."""
    chosen: list[int] = []
    for place in sorted(range(len(keys)), key=lambda place: _rank(keys[place])):
        if _parts(groups, [*chosen, place]) > _parts(groups, chosen):
            chosen.append(place)
    names = [
        shortened(shown(", ".join(_said(keys[place], values[place]) for place in chosen)), LONGEST)
        for values in groups
    ]
    names = [name or shortened(shown(strategy), LONGEST) for name in names]
    return [
        name if names.count(name) == 1 else f"{number}: {name}" for number, name in enumerate(names, start=1)
    ]


def _said(key: str, value: str) -> str:
    """What a name says of a key: a class speaks for itself."""
    *_, owner, last = ["", *key.split(".")]
    if last in (TARGET, "name"):
        return value
    return f"{last if len(key.split('.')) == 1 else f'{owner}.{last}'}={value}"


def _rank(key: str) -> tuple[int, int, str]:
    for place, begin in enumerate(FIRST):
        if key == begin or key.startswith(f"{begin}."):
            return place, key.count("."), key
    return len(FIRST), key.count("."), key


def _parts(groups: Iterable[tuple[str, ...]], places: Sequence[int]) -> int:
    return len({tuple(values[place] for place in places) for values in groups})
