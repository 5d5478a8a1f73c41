"""The files of conf/: where they are, and how a command composes its configuration from them."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.utils import setup_globals
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from mergan.config.schema import register
from mergan.system.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = _PACKAGE / "conf"  # a wheel carries the files inside the package
CONF = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "conf"


def load_configuration(
    name: str, overrides: Sequence[str], folders: Sequence[Path] = (), hydra: bool = False
) -> DictConfig:
    """The configuration that a command composes.

    Hydra's own `compose` works on one global object. A notebook, or a Hydra program that calls this package,
    may be using that object.

    Args:
        name: name of the file in conf/, e.g. "train".
        overrides: overrides KEY=VALUE.
        folders: additional folders of YAML files, searched before conf/ (--config-dir).
        hydra: whether to keep Hydra's own settings, under the key `hydra`.

    Raises:
        HydraException: an override cannot be read, or a key or a choice does not exist.
        OmegaConfBaseException: a value of another type.
    """
    cfg = loader(folders).load_configuration(name, list(overrides), RunMode.RUN)
    return cfg if hydra else _without_hydra(cfg)


def loader(folders: Sequence[Path] = ()) -> ConfigLoaderImpl:
    """Hydra's loader of conf/ and of the folders that are searched before it."""
    register()
    setup_globals()
    path = create_config_search_path(str(CONF))
    for folder in reversed(folders):
        path.prepend("command-line", f"file://{folder.absolute()}", SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(path)


def _without_hydra(cfg: DictConfig) -> DictConfig:
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def compose(*words: str, name: str = "train") -> DictConfig:
    """The configuration of a command: `compose("strategy=ewc", "lr=1e-4")`. Values are not checked.

    Args:
        *words: overrides as on the command line, one per argument.
        name: name of the command: train, evaluate or sample.

    Raises:
        HydraException, OmegaConfBaseException: as `load_configuration`.
    """
    return _composed(name, words).copy()


def node_of(key: str, *words: str) -> DictConfig:
    """The part of that configuration at a key. You may add keys to it.

    Raises:
        ConfigError: there is no part at that key.
    """
    node = OmegaConf.select(compose(*words), key)
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{key}: conf/ has no part there")
    OmegaConf.set_struct(node, False)
    return node


@functools.lru_cache(maxsize=128)
def _composed(name: str, words: tuple[str, ...]) -> DictConfig:
    """The composed configuration, cached because composing takes a tenth of a second."""
    cached = loader()
    cached.repository = _kept_files()
    return _without_hydra(cached.load_configuration(name, list(words), RunMode.RUN))


@functools.cache
def _kept_files() -> _KeptFiles:
    return _KeptFiles(create_config_search_path(str(CONF)))


class _KeptFiles(ConfigRepository):
    """The files of conf/, each of which is read only once. Reading takes a third of composing."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Look elsewhere from now on (the override hydra.searchpath)."""
        super().initialize_sources(config_search_path)
        self._read: dict[str, ConfigResult | None] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A copy of a file's content, because Hydra changes what it gets."""
        if config_path not in self._read:
            self._read[config_path] = super().load_config(config_path)
        result = self._read[config_path]
        if result is None:
            return None
        return dataclasses.replace(
            result,
            config=copy.copy(result.config),  # which copies all its parts
            header=dict(result.header),
            defaults_list=copy.deepcopy(result.defaults_list),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> _KeptFiles:
        """Hydra composes with a copy, so that it can let it look elsewhere."""
        return copy.copy(self)
