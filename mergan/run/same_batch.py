"""A run that goes on with another number of processes: it must draw the same batches."""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from mergan.config import trainer_arguments
from mergan.system.errors import ConfigError
from mergan.system.launched import member

log = logging.getLogger(__name__)


def check_batch(before: int, old: DictConfig, new: DictConfig, allowed: bool) -> bool:
    """Refuse to resume a run with another batch, of all processes together.

    Another number of processes draws the same batches if their size is the same.

    Args:
        before: how many processes the run had.
        old: its configuration.
        new: the configuration to resume with.
        allowed: whether it may differ (`allow_changes`).

    Returns:
        Whether the number of processes has changed but not the batch.

    Raises:
        ConfigError: the batch differs.
    """
    size: int = old.batch_size
    here = member().count if new.trainer.get("strategy") == trainer_arguments.SEVERAL else 1
    if before == here:
        return False
    if before * size == here * new.batch_size:
        log.info("the run had %d processes, now there are %d; its batches are the same", before, here)
        return True
    if allowed:
        return False
    raise ConfigError(
        f"batch_size={new.batch_size}: the run had {before} processes with {size} images each, here are "
        f"{here}; go on with as many processes, or with batch_size={before * size / here:g}, or set "
        "allow_changes=true"
    )
