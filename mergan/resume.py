"""Going on with a run: which configuration holds, and in which folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan import checkpoint, config
from mergan.errors import ConfigError

# what may differ between a run and its continuation without changing what is learned
HARMLESS = ("trainer", "logger", "callbacks", "cache_dir", "data.root", "data.download", "data.source.root",
            "data.source.download", "evaluation.inception_weights", "ckpt_path")  # fmt: skip
WHOLE = ("experiment", "debug")  # groups that may set any key


def restore(
    cfg: DictConfig, overrides: Sequence[str], groups: Sequence[str], folder: Path
) -> tuple[DictConfig, Path]:
    """The configuration and the run folder of the run that `cfg.ckpt_path` belongs to.

    The checkpoint's own configuration holds, so that `ckpt_path=` alone is enough. What the command
    line repeats must agree with it, apart from settings that do not change what is learned.

    Args:
        cfg: the configuration that the command line describes.
        overrides: the command line, e.g. ["strategy=finetune", "ckpt_path=..."].
        groups: names of the configuration groups.
        folder: the folder of a new run; used unless the checkpoint is the last one of a run folder.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the command line contradicts the checkpoint.
    """
    path = Path(cfg.ckpt_path)
    saved: dict[str, Any] = checkpoint.read(path)[checkpoint.KEY]["config"]
    given: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    touched = _touched(overrides, groups)
    changed = [key for key in config.differences(saved, given) if any(_below(key, part) for part in touched)]
    wrong = [key for key in changed if not any(_below(key, part) for part in HARMLESS)]
    if wrong:
        raise ConfigError(
            f"{wrong[0]}: differs from the run that ckpt_path={path} belongs to; "
            f"leave it out to go on with that run, or start a new one with init_from={path}"
        )
    merged = OmegaConf.create(saved)
    for key in [*changed, "ckpt_path"]:
        OmegaConf.update(merged, key, OmegaConf.select(OmegaConf.create(given), key), force_add=True)
    typed = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), merged)
    assert isinstance(typed, DictConfig)
    run = path.resolve().parent.parent
    goes_on = (
        path.name == "last.ckpt"
        and path.resolve().parent.name == "checkpoints"
        and (run / "config.yaml").is_file()
    )
    return typed, run if goes_on else folder


def _touched(overrides: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Keys that the command line speaks of; "" for all of them."""
    keys = [override.split("=", 1)[0].lstrip("+~").split("@", 1)[0] for override in overrides]
    return ["" if key in WHOLE and key in groups else key for key in keys]


def _below(key: str, part: str) -> bool:
    return part == "" or key == part or key.startswith(f"{part}.") or part.startswith(f"{key}.")
