"""TensorBoard's event files, which a resumed run continues from the step of its checkpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from mergan.output import event_files, event_hparams, event_summaries, tables
from mergan.output.event_tags import PICTURES, tagged
from mergan.output.folder import TENSORBOARD, RunFolder
from mergan.output.places import check_kind
from mergan.system.errors import StorageError
from mergan.system.files import kind

ABOUT = ".about"  # how the event file that is written anew at each start and at the end ends
REPLACED = (ABOUT, ".final")  # the other one is that of earlier versions


class EventLog(TensorBoardLogger):
    """TensorBoard's event files under `tensorboard/`; mergan.output.event_tags lists the tags.

    Scalars have the generator step as their step. Pictures have the number of their task, from 1.

    The layout of the charts, the configuration, the settings to compare runs by and the final figures have
    an event file of their own. It is replaced when a run goes on and when it ends.

    Args:
        folder: the run folder.
        resume_step: later steps are removed; -1 for a new run.
        config: the resolved configuration; None leaves out the settings to compare runs by.
        per_class: whether to log the figures of every class after each task. The matrices hold them anyway.

    Raises:
        StorageError: `tensorboard` is not a folder, or an event file in it is a link or something else.
    """

    def __init__(
        self,
        folder: str | Path,
        resume_step: int = -1,
        config: Mapping[str, Any] | None = None,
        per_class: bool = False,
    ) -> None:
        super().__init__(save_dir=folder, name=TENSORBOARD, version="", purge_step=resume_step + 1)
        self._folder, self._resume_step = RunFolder(Path(folder)), resume_step
        self._config, self._per_class = config, per_class
        place = self._folder.tensorboard
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
        """The writer, opened at first use. Opening it removes what was logged after the resumed step."""
        if self._experiment is None:
            with self._named():
                if self._resume_step >= 0:
                    event_files.cut(Path(self.log_dir), self._resume_step)
                self._write_about(self._about(tables.COLUMNS))
        return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Hand scalars to the writer thread, as one event.

        Raises:
            StorageError: that thread could not write earlier ones.
        """
        with self._named():
            self._writer.add_summary(event_summaries.scalars(tagged(metrics, self._per_class)), step)

    @rank_zero_only
    def log_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Hand a picture, uint8 (H, W, 3), to the writer thread.

        Raises:
            StorageError: that thread could not write earlier ones.
        """
        with self._named():
            self.experiment.add_image(PICTURES.get(tag, tag), picture, step, dataformats="HWC")

    @rank_zero_only
    def log_final(self, settings: Mapping[str, Any], figures: Mapping[str, float], step: int) -> None:
        """Write the final figures at the last step, and the closing table.

        Args:
            settings: the configuration, nested; `tasks` is the stream as text.
            figures: by tag, e.g. "final/accuracy".
            step: the last step.
        """
        _ = self.experiment  # opening it later would remove what is written here
        named = {tag.removeprefix("final/"): value for tag, value in figures.items()}
        table = event_summaries.closing(named, str(settings["tasks"]))
        compared = [name for name in tables.columns([named]) if name in named]
        end = [event_summaries.text("closing table", table)]
        if self._config is not None:
            end.append(event_hparams.finished())
        with self._named():
            self._write_about(
                [*self._about(compared), *end], event_summaries.scalars(tagged(figures, False)), step
            )

    def _about(self, figures: Iterable[str]) -> Iterator[Any]:
        """The Summaries that do not belong to a step."""
        yield event_summaries.charts()
        if self._folder.config.is_file():
            content = self._folder.config.read_text(encoding="utf-8")
            yield event_summaries.text("configuration", event_summaries.fenced(content, "yaml"))
        if self._config is not None:
            settings = event_hparams.of_command(self._config)
            yield from event_hparams.started(settings, list(figures), self._folder.path)

    def _write_about(self, summaries: Iterable[Any], figures: Any = None, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for ending in REPLACED:
            for path in Path(self.log_dir).glob(f"events.*{ending}"):
                path.unlink()
        with SummaryWriter(self.log_dir, filename_suffix=ABOUT) as writer:
            for summary in summaries:
                writer.file_writer.add_summary(summary, 0)
            if figures is not None:
                writer.file_writer.add_summary(figures, step)

    @property
    def _writer(self) -> Any:
        return self.experiment.file_writer

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.log_dir}: cannot be written ({error.strerror or error})") from error

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
        Everything up to the last checkpoint has been flushed before it. A resumed run removes the rest.
        """
        error = sys.exception()
        if (error is None or isinstance(error, Exception)) and not self._failed():
            super().finalize(status)

    def _failed(self) -> bool:
        """Whether the writer thread has ended with an error."""
        if self._experiment is None or self._experiment.file_writer is None:
            return False
        return self._experiment.file_writer.event_writer._async_writer._worker.exception is not None
