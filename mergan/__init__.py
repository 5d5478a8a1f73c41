"""mergan: teach one conditional generator new classes, one task after another, and measure what it forgets.

    record = mergan.train(["strategy=joint_retrain", "seed=1"])  # what the command `mergan train` does
    record = mergan.read_run("runs/first")                       # configuration, figures and matrices
    generator = mergan.load("runs/first")                        # or the path of a checkpoint
    images, labels = generator.sample(["3", "7"], per_class=10)

Importing this package does not import torch; the functions import what they need. Errors that the user can
fix are raised as `MerganError`. Its message is one line that names the cause and the remedy.
"""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    # `python -m mergan.sample` is starting, and Python has put the working directory first in sys.path. That
    # folder may come from somebody else: its files are data, not code.
    del sys.path[0]

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mergan.system.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MerganError,
    StorageError,
    TrainingError,
)
from mergan.system.version import VERSION as __version__

if TYPE_CHECKING:
    from mergan.output.record import Record
    from mergan.run.generator import Generator

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "MerganError",
    "StorageError",
    "TrainingError",
    "__version__",
    "load",
    "read_run",
    "train",
]


def load(path: str | Path, trust: Sequence[str] = ()) -> "Generator":
    """The trained generator of a run folder, a checkpoint or an exported file.

    Args:
        path: a checkpoint, a .safetensors file of `mergan export`, or a run folder. A run folder means its
            `checkpoints/last.ckpt`; if that is missing, the checkpoint of its last task.
        trust: modules whose classes the checkpoint may name besides mergan's own; their code runs.

    Raises:
        CheckpointError: there is no checkpoint, it cannot be read, or it names a class that is not trusted.
    """
    from mergan.run import generator

    return generator.load(Path(path), trust)


def read_run(folder: str | Path) -> "Record":
    """Read the results in a run folder: configuration, figures and matrices. A run that is not finished has
    no figures yet.

    Raises:
        ConfigError: the folder holds no run, or a file cannot be read; the message names it.
    """
    from mergan.output import record

    return record.read_run(Path(folder))


def train(
    overrides: Sequence[str] = (), folder: str | Path | None = None, config_dir: str | Path | None = None
) -> "Record":
    """Train in this process, as the command `mergan train` does, and read the results.

    The caller keeps its signal handlers: Ctrl-C raises KeyboardInterrupt. You can then resume from the last
    finished epoch (`ckpt_path=...`, or `resume=auto` with the same folder).

    Args:
        overrides: overrides KEY=VALUE, as on the command line; no flags, and one value per key.
        folder: the run folder; None: that of the configuration, `runs/DATE/TIME_STRATEGY`.
        config_dir: an additional folder of YAML files, as with --config-dir.

    Raises:
        MerganError: something that the user can fix. A refused setting raises ConfigError before anything is
            written.
    """
    from mergan.cli import in_process

    return in_process.train(overrides, folder, config_dir)
