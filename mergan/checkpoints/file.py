"""Checkpoint files: written atomically, read as data, refused with a one-line error."""

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
    """Writes beside the target, syncs and renames. It hands the trainer content that is already checked.

    Lightning's own class writes to the temporary folder and moves the file, which may cross file systems. It
    does not sync. It also reads the file by itself.
    """

    def __init__(self) -> None:
        self._checked: dict[str, dict[str, Any]] = {}

    def hand_over(self, path: Path, content: dict[str, Any]) -> None:
        """Keep the checked content of a checkpoint until the trainer asks for it.

        Args:
            path: path of the checkpoint.
            content: see mergan.checkpoints.fitting.for_lightning.
        """
        self._checked[str(path)] = content

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save atomically: after a crash the previous file is still there."""
        save_atomically(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """The content that was handed over; the file is not read again."""
        return self._checked[str(path)]

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it exists."""
        Path(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU. No code in it is executed.

    Raises:
        CheckpointError: the file is missing, empty, truncated, changed, or not a checkpoint of this project;
            the message names an earlier intact checkpoint, if there is one.
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
    """What to use instead of a broken checkpoint: the last intact one written before it."""
    others = (other for other in path.parent.glob("*.ckpt") if other != path and other.is_file())
    for other in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
        if not damage(other):
            return f"; the one before it is {other}"
    return ""


def run_config(content: Mapping[str, Any], path: Path, trust: Trust) -> DictConfig:
    """The configuration in a checkpoint, with the types of the schema and values in range.

    Args:
        content: the checkpoint, as returned by `read`.
        path: path of the checkpoint, for messages.
        trust: what the configuration may name.

    Raises:
        CheckpointError: it names a class that the command does not trust, or is not the configuration of a
            run.
    """
    plain, source = content[KEY]["config"], f"checkpoint {path}"
    trust.check(plain, source)
    try:
        cfg = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), OmegaConf.create(plain))
        assert isinstance(cfg, DictConfig)
        config.check_values(cfg)
    except (ConfigError, OmegaConfBaseException, AttributeError, ValueError, TypeError) as error:
        # OmegaConf raises some of Python's own errors for values that YAML cannot hold
        raise CheckpointError(f"{source}: its configuration is none of a run ({reason(error)})") from error
    return cfg
