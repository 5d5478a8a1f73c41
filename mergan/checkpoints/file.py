"""Checkpoint files: written in one piece, read as data, refused with one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import CheckpointIO
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mergan import config
from mergan.checkpoints import contents
from mergan.checkpoints.archive import damage, read_archive
from mergan.checkpoints.contents import KEY
from mergan.checkpoints.trust import Trust
from mergan.system.errors import CheckpointError, ConfigError, reason
from mergan.system.files import save_atomically


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the target, syncs and renames; hands the trainer what has been read and checked before.

    Lightning's own goes through the temporary folder and a move, which may cross file systems, and
    does not sync. It also reads the file by itself.
    """

    def __init__(self) -> None:
        self._checked: dict[str, dict[str, Any]] = {}

    def hand_over(self, path: Path, content: dict[str, Any]) -> None:
        """Keep what has been read of a checkpoint and checked, until the trainer asks for it.

        Args:
            path: of the checkpoint.
            content: see mergan.checkpoints.fitting.for_lightning.
        """
        self._checked[str(path)] = content

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save in one piece: a crash leaves the file that was there before."""
        save_atomically(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """What has been handed over; the file is not read again."""
        return self._checked[str(path)]

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU. No code in it is executed.

    Raises:
        CheckpointError: the file is missing, empty, cut short, changed, or not a checkpoint of this project;
            the message names a whole one that was written before it, if there is one.
    """
    if not path.exists():
        raise CheckpointError(f"checkpoint {path}: there is no such file{_earlier(path)}")
    try:
        content = read_archive(path)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}{_earlier(path)}") from error
    try:
        contents.check(content)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    return content


def _earlier(path: Path) -> str:
    """What to use in place of a broken checkpoint: the last whole one that was written before it."""
    others = (other for other in path.parent.glob("*.ckpt") if other != path and other.is_file())
    for other in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
        if not damage(other):
            return f"; the one before it is {other}"
    return ""


def run_config(content: Mapping[str, Any], path: Path, trust: Trust) -> DictConfig:
    """The configuration that stands in a checkpoint, with the types of the schema and values in range.

    Args:
        content: what `read` gave.
        path: of the checkpoint, for messages.
        trust: what it may name.

    Raises:
        CheckpointError: it names what the command does not trust, or is no configuration of a run.
    """
    plain, source = content[KEY]["config"], f"checkpoint {path}"
    trust.check(plain, source)
    try:
        cfg = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), OmegaConf.create(plain))
        assert isinstance(cfg, DictConfig)
        config.check_values(cfg)
    except (ConfigError, OmegaConfBaseException, AttributeError, ValueError, TypeError) as error:
        # OmegaConf raises some of Python's own errors for values that no YAML can hold
        raise CheckpointError(f"{source}: its configuration is none of a run ({reason(error)})") from error
    return cfg
