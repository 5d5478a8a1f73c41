"""mergan: teach one conditional GAN new image classes task after task, and measure what it forgets.

    record = mergan.train(["strategy=joint_retrain", "seed=1"])  # what the command `mergan train` does
    record = mergan.read_run("runs/first")                       # configuration, figures and matrices
    generator = mergan.load("runs/first")                        # or the path of a checkpoint
    images, labels = generator.sample(["3", "7"], per_class=10)

Importing this package imports no torch; the functions import what they need. What the user can mend they
raise as a `MerganError`, whose message is one line that names the culprit and the remedy.
"""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    # `python -m mergan.sample` is being started, and Python has put the working directory in front of all
    # that can be imported. It may be a folder from somebody else: what lies there is data, not code.
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
    """The trained generator of a run folder or of a checkpoint.

    Args:
        path: a checkpoint; or a run folder, which stands for its `checkpoints/last.ckpt`, or for the
            checkpoint of its last task where that is missing.
        trust: modules whose classes the checkpoint may name besides mergan's own: their code runs.

    Raises:
        CheckpointError: there is no checkpoint, it cannot be read, or it names what is not trusted.
    """
    from mergan.run import generator

    return generator.load(Path(path), trust)


def read_run(folder: str | Path) -> "Record":
    """What a run has left in its folder: configuration, figures and matrices. A run that is not finished
    has no figures yet.

    Raises:
        ConfigError: the folder holds no run, or a file that cannot be read; the message names it.
    """
    from mergan.output import record

    return record.read_run(Path(folder))


def train(
    overrides: Sequence[str] = (), folder: str | Path | None = None, config_dir: str | Path | None = None
) -> "Record":
    """Train in this process, as the command `mergan train` does, and read what the run has left.

    Signals stay the caller's: Ctrl-C raises KeyboardInterrupt, and the last finished epoch can be gone on
    with (`ckpt_path=...`, or `resume=auto` with the same folder).

    Args:
        overrides: settings, KEY=VALUE each, as on the command line; no flags, and one value per key.
        folder: the run folder; None: that of the configuration, `runs/DATE/TIME_STRATEGY`.
        config_dir: a further folder of YAML files, as --config-dir names one.

    Raises:
        MerganError: something the user can mend; ConfigError before anything is written, where a setting
            is refused.
    """
    from mergan.cli import in_process

    return in_process.train(overrides, folder, config_dir)
