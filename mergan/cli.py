"""What surrounds a job on the command line: errors as one line, exit status, the closing table."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mergan import config
from mergan.errors import ConfigError, MerganError

REFUSED, INTERRUPTED, TERMINATED, UNEXPECTED = 2, 130, 143, 1


class Terminated(BaseException):
    """SIGTERM arrived."""


def train_job(cfg: DictConfig) -> float | None:
    """Check the configuration, train, and print where the results are."""
    config.check(cfg)
    folder = Path(HydraConfig.get().runtime.output_dir)
    _quieten()
    cfg = config.apply_caps(cfg)
    from mergan import experiment  # torch and Lightning load only once the configuration has passed

    metrics = experiment.run(cfg, folder)
    print(folder, metrics)
    return metrics["accuracy"]


def _quieten() -> None:
    """Keep Lightning's advertisements and hints, which are not for this program's users, off the screen."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")


def guard(main: Callable[[], Any]) -> int:
    """Run `main` and turn what happens into an exit status (docs/ARCHITECTURE.md) and one line."""
    try:
        main()
    except MerganError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0
