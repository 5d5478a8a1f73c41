"""Parts that need a package which only an extra of mergan installs (no torch)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan.system.errors import ConfigError

# by target: the extra, and the modules that it brings
NEEDS = {
    "mergan.output.trackers.mlflow.MLflowTracker": ("mlflow", ("mlflow", "sqlalchemy", "alembic")),
    "mergan.output.trackers.wandb.WandbTracker": ("wandb", ("wandb",)),
}


def check(cfg: DictConfig) -> None:
    """Refuse a part whose package is missing, before anything is imported.

    Raises:
        ConfigError: the message names the key and how to install the package.
    """
    for key, target in _targets(cfg):
        extra, modules = NEEDS[target]
        for module in modules:
            if not _installed(module):
                raise ConfigError(f"{key}: needs {module}; install it with pip install 'mergan[{extra}]'")


def _targets(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    loggers: Any = OmegaConf.select(cfg, "logger")
    for name, node in loggers.items():
        target = None if node is None else node.get("_target_")
        if target in NEEDS:
            yield f"logger.{name}", target


def _installed(module: str) -> bool:
    """Whether a module can be imported. A folder of that name, such as W&B's own `wandb`, is none."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None
