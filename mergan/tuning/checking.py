"""Try in advance what a search would try, as far as that needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan.cli import in_process
from mergan.config import slots
from mergan.system.errors import ConfigError
from mergan.tuning.space import Dimension


def checked(
    dimensions: Sequence[Dimension], fixed: Sequence[str], config_dir: Path | None
) -> tuple[list[Dimension], DictConfig]:
    """Refuse what no training would take, and find out which intervals are of whole numbers.

    Every extreme value of a dimension is tried with the first values of the others.

    Args:
        dimensions: what is searched.
        fixed: the overrides of all trials.
        config_dir: the folder of --config-dir.

    Returns:
        The dimensions, and the configuration with the first value of each.

    Raises:
        MerganError: the message names the key and the value that is refused.
    """
    first = [part.override(part.extremes()[0]) for part in dimensions]
    cfg = _check([*fixed, *first], config_dir)
    settled = list(dimensions)
    for place, part in enumerate(dimensions):
        before, after = [*fixed, *first[:place]], first[place + 1 :]
        if part.may_be_whole:
            try:
                _check([*before, part.inner(), *after], config_dir)
            except ConfigError:  # the key takes whole numbers only
                settled[place] = part.whole()
        for value in part.extremes()[1:]:
            _check([*before, settled[place].override(value), *after], config_dir)
    return settled, cfg


def _check(overrides: Sequence[str], config_dir: Path | None) -> DictConfig:
    """Check a configuration, and the arguments of its parts against the annotations of their constructors."""
    from mergan.config.instantiate import check_types  # which imports torch: a typo is answered before
    from mergan.run import automatic

    cfg = in_process.check(overrides, config_dir)
    for node in slots.parts_of(cfg):
        key = str(node._get_full_key(None))
        given: Any = OmegaConf.to_container(node, resolve=True)
        waiting = [name for name in given if given[name] is None and f"{key}.{name}" in automatic.KEYS]
        check_types({name: given[name] for name in given if name not in waiting}, key)
    return cfg
