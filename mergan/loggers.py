"""The loggers of a run folder. On resume both go on where the checkpoint stands."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from mergan.storage import replacing


class _ResumedWriter(ExperimentWriter):
    """Keeps the rows that a run has logged up to a step, where Lightning's deletes the file."""

    def __init__(self, log_dir: str, resume_step: int) -> None:
        self._resume_step = resume_step
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            del lines[-1]  # cut short when the process was killed
        reader = csv.DictReader(lines)
        rows = [row for row in reader if self._stays(row)]
        if not rows:
            path.unlink()
            return
        self.metrics_keys = list(reader.fieldnames or [])
        self._write(rows, self.metrics_keys)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """In one piece, unlike Lightning's."""
        with Path(self.metrics_file_path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._write(rows, fieldnames)

    def _write(self, rows: list[dict[str, str]], fieldnames: list[str]) -> None:
        with (
            replacing(Path(self.metrics_file_path)) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=fieldnames)
            writer.writeheader()
            writer.writerows(rows)

    def _stays(self, row: dict[str, str]) -> bool:
        """Whether the resumed run will not log the row again; it will log its final figures again."""
        final = any(value for key, value in row.items() if key.startswith("final/"))
        return not final and bool(row["step"]) and int(row["step"]) <= self._resume_step


class CSVLog(CSVLogger):
    """`metrics.csv` in the run folder, with the columns `epoch` and `step`.

    Args:
        folder: the run folder.
        resume_step: rows of later steps are cut off, -1 for a new run.
    """

    def __init__(self, folder: str | Path, resume_step: int = -1) -> None:
        super().__init__(save_dir=folder, name="", version="", flush_logs_every_n_steps=10**9)
        self._resume_step = resume_step
        self._writer: ExperimentWriter | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:  # type: ignore[override]  # Lightning's own is this type too
        """The writer; opened at the first use."""
        if self._writer is None:
            self._writer = self._experiment = _ResumedWriter(self.log_dir, self._resume_step)
        return self._writer


class EventLog(TensorBoardLogger):
    """TensorBoard's event files, left open by an interruption."""

    def finalize(self, status: str) -> None:
        """Close the file, unless Ctrl-C or SIGTERM is what ends the run.

        That may have struck inside the writer's queue, and closing would then wait for its thread for
        ever. What belongs to the last checkpoint has been flushed before it, and a resumed run purges
        the rest.
        """
        error = sys.exception()
        if error is None or isinstance(error, Exception):
            super().finalize(status)


def tensorboard(folder: str | Path, resume_step: int = -1) -> TensorBoardLogger:
    """TensorBoard's event files under `tensorboard/`; later steps than `resume_step` are purged."""
    return EventLog(save_dir=folder, name="tensorboard", version="", purge_step=resume_step + 1)
