"""`metrics.csv`: a table of few columns, which a resumed run continues from the step of its checkpoint."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from mergan.output.places import check_kind
from mergan.system.files import replacing

log = logging.getLogger(__name__)

FIRST = ("epoch", "step")  # columns
DETAIL = re.compile(r"([^/]+)/(?:class|task)_")  # the value of a figure for one class or task
WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


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
            if tuple(header[: len(FIRST)]) != FIRST:  # written by an older version
                self.metrics_keys = in_order(header)
                self._rewrite_with_new_header(self.metrics_keys)
        else:
            path.unlink()

    def _record_new_keys(self) -> set[str]:
        """Add the columns that new rows need, at the end; Lightning's method sorts all of them."""
        logged = dict.fromkeys(key for row in self.metrics for key in row)
        new = logged.keys() - set(self.metrics_keys)
        self.metrics_keys = in_order([*self.metrics_keys, *(key for key in logged if key in new)])
        return new

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


def in_order(columns: Sequence[str]) -> list[str]:
    """Epoch and step first, then the others in their order."""
    return [*FIRST, *(name for name in columns if name not in FIRST)]


def without_details(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The scalars without those of single classes and tasks, where their average stands beside them."""
    averaged = {name.removesuffix("/average") for name in metrics if name.endswith("/average")}
    return {
        name: value
        for name, value in metrics.items()
        if (detail := DETAIL.match(name)) is None or detail[1] not in averaged
    }


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
    """`metrics.csv` in the run folder: `epoch`, `step`, then losses, learning rates and continual figures.

    Values of single classes and tasks are left out, because the matrices hold them. The final figures are
    left out too; they are in metrics.json.

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
        check_kind(Path(folder) / ExperimentWriter.NAME_METRICS_FILE, "a file")

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:  # type: ignore[override]  # Lightning's own is this type too
        """The writer, opened at first use."""
        if self._writer is None:
            self._writer = self._experiment = _ResumedWriter(self.log_dir, self._resume_step)
        return self._writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:  # type: ignore[override]
        """Add a row, without the figures of single classes and tasks."""
        super().log_metrics(without_details(metrics), step)

    def log_final(self, settings: Mapping[str, Any], figures: Mapping[str, float], step: int) -> None:
        """Nothing: config.yaml holds the settings, and metrics.json the final figures."""
