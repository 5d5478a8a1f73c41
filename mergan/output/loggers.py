"""The loggers of a run folder. When a run resumes, both continue from the step of the checkpoint.

After a failed write neither writes again: text after half a line would be taken for a part of that line.
Configurations name both of them here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.logger import _convert_params, _flatten_dict
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from mergan.output.csv_log import CSVLog
from mergan.output.folder import TENSORBOARD, RunFolder
from mergan.output.places import check_kind
from mergan.system.errors import StorageError
from mergan.system.files import kind

__all__ = ["CSVLog", "EventLog"]

FINAL = ".final"  # how the event file of the final figures ends


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
            check_kind(path, "a file")

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
