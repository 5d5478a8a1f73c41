"""The real images of a checkpoint's run."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.config import TrainConfig
from mergan.data.pool import ImagePool
from mergan.run import automatic, build, start
from mergan.run.trained import CheckpointGenerator


def own_data(
    generator: CheckpointGenerator,
    path: Path,
    cache_dir: str,
    root: str | None = None,
    evaluation: DictConfig | None = None,
    allow_changes: bool = False,
    download: bool = False,
) -> tuple[TrainConfig, ImagePool]:
    """The configuration of a checkpoint's run, for this machine, and its data.

    Args:
        generator: the generator of the checkpoint.
        path: the checkpoint, for messages.
        cache_dir: the cache folder.
        root: folder of the data sets; None: that of the run.
        evaluation: how to measure; None: as the run did.
        allow_changes: whether the data may differ from the run's.
        download: whether missing data may be downloaded to `root`, if the run may do so.

    Raises:
        CheckpointError: the data is not the run's.
        DataError: the data is missing or cannot be read.
    """
    run_cfg = generator.config.copy()
    OmegaConf.set_struct(run_cfg, False)
    if evaluation is not None:
        run_cfg.evaluation = evaluation
    run_cfg.cache_dir = cache_dir
    for node in (run_cfg.data, run_cfg.data.source):
        if root is not None and "root" in node:
            node.root = root
        if (root is None or not download) and "download" in node:
            node.download = False  # also: do not write to a folder that only the checkpoint names
    run_cfg = config.apply_caps(run_cfg)  # a debug=smoke run is measured in seconds too
    settings = config.typed(automatic.filled(run_cfg))
    pool = build.build_pool(settings, classes=generator.class_names)
    start.check_data(generator.content, pool.description(), f"checkpoint {path}", allow_changes)
    return settings, pool
