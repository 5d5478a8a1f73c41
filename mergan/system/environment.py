"""Environment variables that would change what a command does or how it ends."""

from __future__ import annotations

import os
import sys
import warnings

from mergan.system.errors import ConfigError

FIXED = {
    "HYDRA_FULL_ERROR": "1",  # errors reach mergan.cli.guard, which prints them in one line
    "MPLBACKEND": "Agg",  # pictures go to files; a notebook's backend may not be installed
}
IGNORED = (
    "HYDRA_DEPRECATION_WARNINGS_AS_ERRORS",
    "SELF_WARNING_AS_ERROR",
    "HYDRA_MAIN_MODULE",
)
TRAINER = "PL_TRAINER_"  # Lightning reads Trainer arguments from variables with this prefix


def settle() -> None:
    """Make the command independent of environment variables of Hydra, Lightning and warnings.

    Raises:
        ConfigError: see `check`.
    """
    os.environ.update(FIXED)
    for name in IGNORED:
        os.environ.pop(name, None)
    if any(option.startswith("error") for option in sys.warnoptions):
        warnings.simplefilter("default")  # a library's warning must not end a run
    check()


def check() -> None:
    """Refuse an environment in which training cannot run as requested.

    Raises:
        ConfigError: the working directory is gone, or the environment sets arguments of Lightning's Trainer,
            which neither a checkpoint nor config.yaml would record.
    """
    for name, value in os.environ.items():
        if name.startswith(TRAINER) and value:
            key = f"trainer.{name.removeprefix(TRAINER).lower()}"
            raise ConfigError(f"{name}={value}: unset it, and set {key} on the command line")
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError(
            f"the working directory does not exist any more ({error.strerror}); change into another"
        ) from error
