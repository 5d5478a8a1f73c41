"""The files of conf/ put together as a command does it."""

from __future__ import annotations

import functools
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from mergan.config.schema import register
from mergan.system.errors import ConfigError

CONF = Path(__file__).resolve().parent.parent.parent / "conf"


def compose(*words: str, name: str = "train") -> DictConfig:
    """The configuration that a command has: `compose("strategy=ewc", "lr=1e-4")`. Values are not checked.

    Args:
        *words: as on the command line, each for itself.
        name: of the command: train, evaluate or sample.

    Raises:
        HydraException, OmegaConfBaseException: a word names what conf/ does not have, or a value of another
            type.
    """
    return _composed(name, words).copy()


def node_of(key: str, *words: str) -> DictConfig:
    """The part of that configuration at a key, which may be given further keys.

    Raises:
        ConfigError: there is none.
    """
    node = OmegaConf.select(compose(*words), key)
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{key}: conf/ has no part there")
    OmegaConf.set_struct(node, False)
    return node


@functools.lru_cache(maxsize=128)
def _composed(name: str, words: tuple[str, ...]) -> DictConfig:
    """Composing takes a tenth of a second."""
    register()
    with hydra.initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return hydra.compose(name, list(words))
