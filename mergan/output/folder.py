"""A run folder: only this module spells the names of its files (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from mergan.system import files

CHECKPOINTS, SAMPLES, TENSORBOARD, WANDB = "checkpoints", "samples", "tensorboard", "wandb"
LAST = "last.ckpt"
GRID = re.compile(r"task_([0-9]{1,9})\.png")
TASK = re.compile(r"task_([0-9]{1,9})\.ckpt")
# what a run writes, by subfolder of the run folder
WRITTEN = {
    "": (
        "config.yaml",
        "metrics.json",
        "metrics.csv",
        "*_matrix.csv",
        "matrices.png",
        "provenance.json",
        "*_run.json",
        ".*",
    ),
    CHECKPOINTS: ("*.ckpt", ".*"),
    SAMPLES: ("task_*.png", "real.png"),
    TENSORBOARD: ("events.*", "hparams.yaml"),
    WANDB: ("*",),
}


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. Its paths are only names: getting one reads and creates nothing.

    Attributes:
        path: path of the folder.
    """

    path: Path

    @classmethod
    def holding(cls, checkpoint: Path) -> RunFolder | None:
        """The run folder that a file is the last checkpoint of, judged by its path alone."""
        place = checkpoint.resolve().parent
        return cls(place.parent) if checkpoint.name == LAST and place.name == CHECKPOINTS else None

    @property
    def config(self) -> Path:
        """The resolved configuration, with the version that wrote it."""
        return self.path / "config.yaml"

    @property
    def figures(self) -> Path:
        """The final figures. They are written last: if they exist, the run is finished."""
        return self.path / "metrics.json"

    @property
    def provenance(self) -> Path:
        """What the run was made with: code, packages, machine, seconds, memory."""
        return self.path / "provenance.json"

    @property
    def heat_maps(self) -> Path:
        """The picture of all matrices."""
        return self.path / "matrices.png"

    def matrix(self, metric: str) -> Path:
        """The values of a metric after every task, for every class."""
        return self.path / f"{metric}_matrix.csv"

    @property
    def matrices(self) -> dict[str, Path]:
        """The existing matrices, by name of the metric."""
        return {
            path.name.removesuffix("_matrix.csv"): path for path in sorted(self.path.glob("*_matrix.csv"))
        }

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / TENSORBOARD

    @property
    def wandb(self) -> Path:
        """The folder of W&B's files."""
        return self.path / WANDB

    def tracker(self, name: str) -> Path:
        """Which run of a tracker this run is, e.g. of "mlflow"."""
        return self.path / f"{name}_run.json"

    @property
    def real_grid(self) -> Path:
        """Real images of each class."""
        return self.path / SAMPLES / "real.png"

    def grid(self, task: int) -> Path:
        """Samples after a task, numbered from 0."""
        return self.path / SAMPLES / f"task_{task:02d}.png"

    @property
    def grids(self) -> dict[int, Path]:
        """The existing sample grids by task, in order."""
        found = ((GRID.fullmatch(path.name), path) for path in (self.path / SAMPLES).glob("task_*.png"))
        return dict(sorted((int(name[1]), path) for name, path in found if name is not None))

    @property
    def last(self) -> Path:
        """The checkpoint of the last finished epoch."""
        return self.path / CHECKPOINTS / LAST

    def checkpoint(self, task: int) -> Path:
        """The checkpoint at the end of a task, numbered from 0."""
        return self.path / CHECKPOINTS / f"task_{task:02d}.ckpt"

    @property
    def checkpoints(self) -> list[Path]:
        """The existing checkpoints, sorted by name."""
        return sorted((self.path / CHECKPOINTS).glob("*.ckpt"))

    @property
    def task_checkpoints(self) -> dict[int, Path]:
        """The existing checkpoints of finished tasks, by task, in order."""
        found = ((TASK.fullmatch(path.name), path) for path in self.checkpoints)
        return dict(sorted((int(name[1]), path) for name, path in found if name is not None))

    @property
    def parts(self) -> list[Path]:
        """Its subfolders, whether they exist or not."""
        return [self.path / name for name in WRITTEN if name]

    def locked(self, patience: float = 0) -> AbstractContextManager[None]:
        """Lock the folder for this process; see mergan.system.files.locked."""
        return files.locked(self.path, self.parts, patience=patience)

    @property
    def holds_run(self) -> bool:
        """Whether it holds a run, finished or not."""
        return any(os.path.lexists(path) for path in (self.config, self.figures, self.path / CHECKPOINTS))

    @property
    def finished(self) -> bool:
        """Whether it holds a finished run."""
        return self.figures.is_file()

    @classmethod
    def inside(cls, folder: Path) -> Iterator[RunFolder]:
        """The finished runs directly inside a folder, sorted by name."""
        for path in sorted(folder.glob("*/metrics.json")):
            yield cls(path.parent)


def run_that_writes(path: Path) -> RunFolder | None:
    """The run that a file of this name would belong to; None if no run exists there."""
    folder = Path(os.path.realpath(path.parent))
    for place, part in ((folder, ""), (folder.parent, folder.name)):
        written = any(fnmatch.fnmatchcase(path.name, pattern) for pattern in WRITTEN.get(part, ()))
        if written and RunFolder(place).holds_run:
            return RunFolder(place)
    return None
