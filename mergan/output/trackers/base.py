"""What all trackers share: when something is written, which run it belongs to, and how that run ends."""

from __future__ import annotations

import logging
import sys
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.utilities.logger import _convert_params
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from mergan.output.folder import RunFolder
from mergan.output.trackers.note import read_note, write_note
from mergan.output.trackers.settings import flattened
from mergan.system.errors import MerganError, StorageError, reason

log = logging.getLogger(__name__)


class Status(Enum):
    """How a run ended."""

    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"  # by Ctrl-C or another signal


class Tracker(Logger):
    """A logger whose run belongs to a tracking service.

    What is logged waits until `save`, which is called just before a checkpoint is written. So the tracker
    holds the same steps as the checkpoint, each once, although nothing can be removed there when a run goes
    on. The id of the tracker's run is kept in the run folder. Of several processes the first one alone logs.

    Args:
        key: its key in the configuration, for messages, e.g. "logger.mlflow".
        folder: the run folder.
        config: the resolved configuration.
    """

    def __init__(self, key: str, folder: str | Path, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.key, self.folder = key, RunFolder(Path(folder))
        self._settings = flattened(config)
        self._run: Any = None
        self._id = ""  # while the run is not open
        self._ended = self._failed = False
        self._scalars: list[tuple[int, dict[str, float]]] = []
        self._pictures: list[tuple[str, np.ndarray, int]] = []

    # ------------------------------------------------------------------ of a service

    @abstractmethod
    def _open(self, known: str | None) -> tuple[Any, str]:
        """Start a run, or go on with a known one.

        Args:
            known: the id of the run that the folder belongs to; None for a new folder.

        Returns:
            The run (the `experiment` of Lightning) and its id.
        """

    @abstractmethod
    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write settings by dotted key."""

    @abstractmethod
    def _write_scalars(self, scalars: Sequence[tuple[int, dict[str, float]]]) -> None:
        """Write scalars, step by step."""

    @abstractmethod
    def _write_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Write a picture, uint8 (H, W, 3)."""

    @abstractmethod
    def _write_files(self, paths: Sequence[Path]) -> None:
        """Write files of the run folder."""

    @abstractmethod
    def _end(self, status: Status) -> None:
        """Close the run."""

    # ------------------------------------------------------------------ of Lightning and mergan

    @property
    def name(self) -> str:
        """The name of the run, which is that of its folder."""
        return self.folder.path.name

    @property
    def version(self) -> str | None:
        """The id of the run in the service; None before it is open."""
        return self._id or None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The open run, as the library of the service knows it."""
        if self._run is None:
            with self._named():
                note = self.folder.tracker(self.key.rpartition(".")[2])
                known = read_note(note)
                self._run, self._id = self._open(known)
                if self._id != known:
                    write_note(note, self._id)
                self._write_settings(self._settings)
        return self._run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep scalars for the next `save`."""
        self._scalars.append((step or 0, {tag: float(value) for tag, value in metrics.items()}))

    @rank_zero_only
    def log_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Keep a picture, uint8 (H, W, 3), for the next `save`."""
        self._pictures.append((tag, picture, step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Write settings besides those of the configuration."""
        _ = self.experiment
        with self._named():
            self._write_settings(flattened(_convert_params(params)))

    @rank_zero_only
    def save(self) -> None:
        """Write what has been logged. The first call opens the run.

        Raises:
            StorageError: the service cannot be reached, or cannot write.
        """
        if self._failed or self._ended:
            return
        _ = self.experiment
        with self._named():
            if self._scalars:
                self._write_scalars(self._scalars)
                self._scalars = []
            while self._pictures:
                self._write_picture(*self._pictures[0])
                del self._pictures[0]

    @rank_zero_only
    def log_final(self, settings: Mapping[str, Any], figures: Mapping[str, float], step: int) -> None:
        """Write the final figures and the files that belong to them, and close the run as finished.

        Raises:
            StorageError: as `save`.
        """
        self.log_metrics(figures, step)
        self.save()
        with self._named():
            self._write_settings({"tasks": settings["tasks"]})
            files = [self.folder.config, self.folder.heat_maps, *self.folder.matrices.values()]
            self._write_files([path for path in files if path.is_file()])
            self._end(Status.FINISHED)
        self._ended = True

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close a run that ends early; `log_final` closes one that is finished.

        Lightning says "success" when the steps are done, before the final figures.
        """
        if status == "success" or self._run is None or self._ended:
            return
        self._ended = True
        stopped = not isinstance(sys.exception(), Exception)
        try:
            with self._named():
                self._end(Status.KILLED if stopped else Status.FAILED)
        except StorageError as error:  # the run ends for another reason, which must be heard
            log.warning("%s", error)

    # ------------------------------------------------------------------ errors

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Raise what goes wrong in the service as StorageError."""
        try:
            yield
        except MerganError:
            self._failed = True
            raise
        except Exception as error:  # a client may raise anything: of its server, its database, its files
            self._failed = True
            raise StorageError(
                f"{self.key}: {self.where} cannot be written ({reason(error)}); mend that and go on, "
                f"or go on without it by {self.key}=null"
            ) from error

    @property
    @abstractmethod
    def where(self) -> str:
        """Where the run is kept, for messages; without passwords."""
