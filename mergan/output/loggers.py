"""The loggers of a run folder. When a run resumes, both continue from the step of the checkpoint.

After a failed write neither writes again: text after half a line would be taken for a part of that line.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.logger import _convert_params, _flatten_dict
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from mergan.output.folder import TENSORBOARD, RunFolder
from mergan.system.errors import StorageError
from mergan.system.files import kind, replacing

log = logging.getLogger(__name__)

WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
FINAL = ".final"  # how the event file of the final figures ends


class _ResumedWriter(ExperimentWriter):
    """Keeps the rows that a run has logged up to a step; Lightning's writer deletes the file."""

    def __init__(self, log_dir: str, resume_step: int) -> None:
        self._resume_step = resume_step
        self._failed = False
        super().__init__(log_dir)

    def save(self) -> None:
        """Append what has been logged, unless an earlier write has failed."""
        if self._failed:
            return
        self._failed = True
        super().save()
        self._failed = False

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        rows = _rows(path)
        header = next(rows, None) or []
        if len(set(header)) != len(header) or "step" not in header:
            log.warning("%s: has no whole header; the table begins anew", path)
            path.unlink()
            return
        kept = self._write((row for row in rows if self._stays(dict(zip(header, row, strict=True)))), header)
        if kept:
            self.metrics_keys = header
        else:
            path.unlink()

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Rewrite the file atomically, unlike Lightning's method."""
        rows = _rows(Path(self.metrics_file_path))
        header = next(rows)
        places = {name: place for place, name in enumerate(header)}
        self._write(
            ([row[places[name]] if name in places else "" for name in fieldnames] for row in rows), fieldnames
        )

    def _write(self, rows: Iterator[list[str]], header: list[str]) -> int:
        """Replace the file; returns the number of rows."""
        kept = 0
        with (
            replacing(Path(self.metrics_file_path)) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(header)
            for row in rows:
                writer.writerow(row)
                kept += 1
        return kept

    def _stays(self, row: dict[str, str]) -> bool:
        """Whether to keep a row: the resumed run will log later rows and the final figures again."""
        final = any(value for key, value in row.items() if key.startswith("final/"))
        return not final and int(row["step"]) <= self._resume_step


def _rows(path: Path) -> Iterator[list[str]]:
    """The header of a table and its complete rows. Rows are dropped if they are cut short, or have another
    number of cells, or a step or an epoch that is not a number.
    """
    header: list[str] | None = None
    dropped = 0
    with path.open("rb") as file:
        for line in file:
            cells = _cells(line)
            if header is None:
                if not cells:
                    return
                header = cells
                yield header
            elif (
                cells is not None
                and len(cells) == len(header)
                and _is_row(dict(zip(header, cells, strict=True)))
            ):
                yield cells
            else:
                dropped += 1
    if dropped:
        log.warning("%s: %d rows that are not whole are left out", path, dropped)


def _cells(line: bytes) -> list[str] | None:
    """The cells of a line, None if the line is incomplete."""
    if not line.endswith(b"\n") or b"\0" in line:
        return None
    try:
        found = list(csv.reader([line.decode("utf-8")], strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    return found[0] if len(found) == 1 else None


def _is_row(row: Mapping[str, str]) -> bool:
    return bool(WHOLE_NUMBER.fullmatch(row.get("step", ""))) and (
        not row.get("epoch") or bool(WHOLE_NUMBER.fullmatch(row["epoch"]))
    )


class CSVLog(CSVLogger):
    """`metrics.csv` in the run folder, with the columns `epoch` and `step`.

    Args:
        folder: the run folder.
        resume_step: rows of later steps are removed; -1 for a new run.

    Raises:
        StorageError: the path of the table is a link, a folder or something else.
    """

    def __init__(self, folder: str | Path, resume_step: int = -1) -> None:
        super().__init__(save_dir=folder, name="", version="", flush_logs_every_n_steps=10**9)
        self._resume_step = resume_step
        self._writer: ExperimentWriter | None = None
        _check_kind(Path(folder) / ExperimentWriter.NAME_METRICS_FILE, "a file")

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:  # type: ignore[override]  # Lightning's own is this type too
        """The writer, opened at first use."""
        if self._writer is None:
            self._writer = self._experiment = _ResumedWriter(self.log_dir, self._resume_step)
        return self._writer

    def log_final(self, settings: Mapping[str, Any], figures: Mapping[str, float], step: int) -> None:
        """Write the final figures as a row of the last step. (The settings are in config.yaml.)"""
        self.log_metrics(dict(figures), step=step)


class EventLog(TensorBoardLogger):
    """TensorBoard's event files under `tensorboard/`.

    The final figures have their own event file. It is replaced when an extended run ends again.

    Args:
        folder: the run folder.
        resume_step: later steps are purged; -1 for a new run.

    Raises:
        StorageError: `tensorboard` is not a folder, or an event file in it is a link or something else.
    """

    def __init__(self, folder: str | Path, resume_step: int = -1) -> None:
        super().__init__(save_dir=folder, name=TENSORBOARD, version="", purge_step=resume_step + 1)
        place = RunFolder(Path(folder)).tensorboard
        if os.path.lexists(place) and not place.is_dir():
            raise StorageError(f"{place}: is {kind(place)}, not a folder; remove it")
        for path in place.glob("events.*"):
            _check_kind(path, "a file")

    @property
    def log_dir(self) -> str:
        """The folder of the event files. (Lightning's version expands `$NAME` and `~` in it.)"""
        return os.path.join(self.save_dir, TENSORBOARD)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer, opened at first use; opening it removes the final figures of an earlier end."""
        if self._experiment is None:
            self._remove_final()
        return super().experiment

    @rank_zero_only
    def log_final(self, settings: Mapping[str, Any], figures: Mapping[str, float], step: int) -> None:
        """Write the final figures at the last step, together with the settings (TensorBoard's HPARAMS).

        Args:
            settings: the configuration, nested.
            figures: by tag.
            step: the last step.
        """
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self._remove_final()
        flat = self._sanitize_params(_flatten_dict(_convert_params(dict(settings))))
        with self._named(), SummaryWriter(self.log_dir, filename_suffix=FINAL) as writer:
            for summary in hparams(flat, dict(figures)):
                writer.file_writer.add_summary(summary)
            for tag, value in figures.items():
                writer.add_scalar(tag, value, step)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            cause = error.__cause__ if isinstance(error, ValueError) else error
            if isinstance(cause, OSError):
                reason = cause.strerror or cause
                raise StorageError(f"{self.log_dir}: cannot be written ({reason})") from cause
            raise

    def _remove_final(self) -> None:
        for path in Path(self.log_dir).glob(f"events.*{FINAL}"):
            path.unlink()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Hand scalars to the writer thread.

        Raises:
            StorageError: that thread could not write earlier ones; Lightning's class would blame the values.
        """
        with self._named():
            super().log_metrics(metrics, step)

    @rank_zero_only
    def log_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Hand a picture, uint8 (H, W, 3), to the writer thread.

        Raises:
            StorageError: that thread could not write earlier ones.
        """
        with self._named():
            self.experiment.add_image(tag, picture, step, dataformats="HWC")

    @rank_zero_only
    def save(self) -> None:
        """Write what has been logged. (Lightning's class also writes hyperparameters; config.yaml has them.)

        Raises:
            StorageError: it cannot be written.
        """
        with self._named():
            self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file, unless Ctrl-C, SIGTERM or a failed write ends the run.

        A signal may have interrupted the writer's queue, and closing would then wait for its thread forever.
        Everything up to the last checkpoint has been flushed before it. A resumed run purges the rest.
        """
        error = sys.exception()
        if (error is None or isinstance(error, Exception)) and not self._failed():
            super().finalize(status)

    def _failed(self) -> bool:
        """Whether the writer thread has ended with an error."""
        if self._experiment is None or self._experiment.file_writer is None:
            return False
        return self._experiment.file_writer.event_writer._async_writer._worker.exception is not None


def _check_kind(path: Path, wanted: str) -> None:
    """Refuse a path that holds anything other than `wanted`; the path may be free.

    Raises:
        StorageError: a link, a folder, ...
    """
    if os.path.lexists(path) and kind(path) != wanted:
        raise StorageError(f"{path}: is {kind(path)}, not {wanted}; remove it, or go on in another folder")
