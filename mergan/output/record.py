"""`mergan.read_run`: the results in a run folder, read as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergan.output.folder import RunFolder
from mergan.output.reading import check_picture, read_config, read_figures, read_matrix
from mergan.system.errors import ConfigError
from mergan.system.text import shown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Record:
    """The results in a run folder.

    Attributes:
        folder: the run folder.
        config: its configuration, nested dicts and lists.
        figures: its final figures by name, as in metrics.json; empty until the run is finished.
        matrices: by name of the metric, the value of every class (columns) after every task (rows, from 0);
            NaN if a class had not been seen yet.
    """

    folder: Path
    config: dict[str, Any]
    figures: dict[str, float | str]
    matrices: dict[str, pd.DataFrame]

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return bool(self.figures)


def read_run(folder: Path) -> Record:
    """Read a run folder; see `mergan.read_run`."""
    folder = folder.expanduser()
    run = RunFolder(folder)
    if not folder.is_dir():
        raise ConfigError(f"{shown(str(folder))}: holds no run (there is no such folder)")
    try:
        config = read_config(run.config)
    except FileNotFoundError as error:
        raise ConfigError(f"{shown(str(folder))}: holds no run ({run.config.name} is missing)") from error
    figures = read_figures(run.figures) if run.finished else {}
    matrices = {name: _frame(path) for name, path in run.matrices.items()}
    return Record(folder, config, figures, matrices)


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    matrix = read_matrix(path)
    tasks = pd.RangeIndex(len(matrix.rows), name="task")
    return pd.DataFrame(
        matrix.rows, index=tasks, columns=pd.Index(matrix.classes, name="class", dtype=str), dtype=float
    )


def last_grid(folder: Path) -> Path | None:
    """The sample grid of a run after its last task.

    Raises:
        ConfigError: the file is not a picture of a sensible size.
    """
    grids = list(RunFolder(folder).grids.values())
    if not grids:
        return None
    check_picture(grids[-1])
    return grids[-1]
