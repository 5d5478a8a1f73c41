"""The composed configuration as a typed object; the parts of a run are built from it."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan.config.schema import TrainConfig


def typed(cfg: DictConfig) -> TrainConfig:
    """A checked configuration as a plain object. All interpolations are resolved. The nodes of parts are
    dicts with a `_target_`.

    Args:
        cfg: a configuration that `mergan.config.check` has passed.
    """
    made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), cfg))
    assert isinstance(made, TrainConfig)
    return made


def plain(settings: TrainConfig) -> dict[str, Any]:
    """The same as dicts, lists and values that YAML and checkpoints can hold."""
    made = OmegaConf.to_container(OmegaConf.structured(settings), enum_to_str=True)
    assert isinstance(made, dict)
    return {str(key): value for key, value in made.items()}
