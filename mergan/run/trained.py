"""A trained generator, rebuilt from a checkpoint or an exported file alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergan import config
from mergan.checkpoints import generator_file
from mergan.checkpoints.contents import AVERAGED, EVALUATION, KEY, PER_TASK, STRATEGY, TRAINED, below
from mergan.checkpoints.file import read, run_config
from mergan.checkpoints.trust import Trust, of_command
from mergan.run.exported import load_exported
from mergan.run.rebuilding import TrainedGenerator, rebuilt
from mergan.system.errors import CheckpointError


@dataclass
class CheckpointGenerator(TrainedGenerator):
    """The generator of a checkpoint.

    Attributes:
        content: the whole checkpoint.
    """

    content: dict[str, Any]

    @property
    def matrices(self) -> dict[str, list[dict[int, float]]]:
        """The matrices (task x class) of the run up to the checkpoint, by name of the metric."""
        return dict(self.content["callbacks"][EVALUATION]["matrices"])

    @property
    def per_task(self) -> dict[str, list[dict[int, float]]]:
        """The matrices with a column per task, likewise."""
        return dict(self.content["callbacks"][EVALUATION].get(PER_TASK, {}))

    @property
    def pooled(self) -> list[dict[str, float]]:
        """The values over the pooled classes after each task up to the checkpoint, by name of the metric."""
        return list(self.content["callbacks"][EVALUATION]["pooled"])

    @property
    def known(self) -> list[int]:
        """The classes that the networks knew before the run's first task."""
        return list(self.content[KEY]["known"])


def load_generator(path: Path, trust: Trust | None = None) -> TrainedGenerator:
    """Rebuild a generator from a file alone.

    Args:
        path: path of a checkpoint, or of a .safetensors file that `mergan export` has written.
        trust: which classes its configuration may name; None: those of mergan.

    Raises:
        CheckpointError: the file is unreadable, names a class that is not trusted, or its weights do not fit
            its configuration.
    """
    exported = path.suffix.lower() == generator_file.SUFFIX
    return load_exported(path, trust) if exported else load_checkpoint(path, trust)


def load_checkpoint(path: Path, trust: Trust | None = None) -> CheckpointGenerator:
    """The generator of a checkpoint; see `load_generator`."""
    if path.suffix.lower() == generator_file.SUFFIX:
        raise CheckpointError(
            f"checkpoint {path}: holds a generator only; name a checkpoint of its run, a .ckpt file"
        )
    content = read(path)
    own, cfg = content[KEY], run_config(content, path, trust or of_command({}, [config.CONF]))
    state = content["state_dict"]
    averaged = any(key.startswith(AVERAGED) for key in state)
    parts = below(state, AVERAGED if averaged else TRAINED), below(state, STRATEGY)
    made = rebuilt(cfg, len(own["class_names"]), parts, path)
    return CheckpointGenerator(*made, own["class_names"], own["seen"], cfg, content)
