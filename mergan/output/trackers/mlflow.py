"""Runs in MLflow: in one SQLite file that all runs share, in another database, or on a server."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_only

from mergan.output.trackers.base import Status, Tracker
from mergan.output.trackers.mlflow_store import (
    KEY,
    alone_in,
    as_text,
    environment,
    innermost,
    name_of,
    settled,
    sqlite_file,
)
from mergan.system.errors import ConfigError, MerganError
from mergan.system.text import shown
from mergan.system.version import VERSION

log = logging.getLogger(__name__)

ARTIFACTS = "mlflow_artifacts"  # the folder beside a SQLite file
PASSWORD = re.compile(r"(?<=:)[^:/@]*(?=@)")
METRICS, PARAMS = 1000, 100  # in a request
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
# for the first request, so that a wrong address is refused within seconds; later ones are patient
AT_ONCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class MLflowTracker(Tracker):
    """Scalars as metrics, the configuration as parameters, pictures and tables as artifacts.

    A parameter cannot change in MLflow. One that changes when the run goes on becomes a tag of the same name.

    Args:
        tracking_uri: URI of a database or a server; None: that of MLFLOW_TRACKING_URI, else the SQLite file
            `runs/mlflow.db` in the working directory.
        experiment: the name of MLflow's experiment, which is made where it is missing.
        folder: the run folder.
        config: the resolved configuration.

    Raises:
        ConfigError: the store cannot be used.
        StorageError: its file cannot be written.
    """

    def __init__(
        self, tracking_uri: str | None, experiment: str, folder: str | Path, config: Mapping[str, Any]
    ) -> None:
        super().__init__(KEY, folder, config)
        self._uri = settled(tracking_uri)
        self._group = experiment
        self._connect()

    @rank_zero_only
    def _connect(self) -> None:
        os.environ.update(QUIET)  # read when MLflow is imported
        from mlflow.tracking import MlflowClient

        for library in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(library).setLevel(logging.ERROR)
        try:
            with environment(AT_ONCE), alone_in(self._uri):
                self._client = MlflowClient(self._uri)
                self._group_id = self._find_group()
        except MerganError:
            raise
        except Exception as error:  # a client may raise anything: of its server, its database, its files
            raise ConfigError(
                f"{KEY}.tracking_uri={self.where}: cannot be used ({innermost(error)}); name a server as "
                "http://HOST:PORT, or a file as sqlite:///PATH.db"
            ) from error

    def _find_group(self) -> str:
        """The id of the experiment, which is made where it is missing."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self._group)
        if found is None:
            place = sqlite_file(self._uri)
            artifacts = None if place is None else (place.parent / ARTIFACTS).as_uri()
            try:
                return str(self._client.create_experiment(self._group, artifact_location=artifacts))
            except MlflowException:  # another process may have made it since
                found = self._client.get_experiment_by_name(self._group)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise ConfigError(
                f"{KEY}.experiment={shown(self._group)}: is deleted in {self.where}; name another, or "
                f"restore it with mlflow experiments restore -x {found.experiment_id}"
            )
        return str(found.experiment_id)

    @property
    def where(self) -> str:
        """The URI of the store, without a password."""
        return PASSWORD.sub("***", self._uri)

    def _open(self, known: str | None) -> tuple[Any, str]:
        run = self._still_there(known)
        if run is None:
            tags = {"mergan.version": VERSION, "mergan.folder": str(self.folder.path)}
            run = self._client.create_run(self._group_id, tags=tags, run_name=self.name).info.run_id
        else:
            self._client.update_run(run, status="RUNNING")
        log.info("MLflow: run %s in %s", shown(self.name), self.where)
        return self._client, run

    def _still_there(self, known: str | None) -> str | None:
        """The id of a known run, unless it has been deleted or belongs to another store."""
        from mlflow.exceptions import MlflowException

        if known is None:
            return None
        try:
            if self._client.get_run(known).info.lifecycle_stage == "active":
                return known
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        log.warning("MLflow: %s has no run %s any more; a new one is started", self.where, known)
        return None

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param, RunTag

        there = self._client.get_run(self._id).data.params
        wanted = {name_of(key): as_text(value) for key, value in settings.items()}
        new = [Param(key, value) for key, value in wanted.items() if key not in there]
        for first in range(0, len(new), PARAMS):
            self._client.log_batch(self._id, params=new[first : first + PARAMS])
        changed = [RunTag(key, value) for key, value in wanted.items() if there.get(key, value) != value]
        if changed:
            self._client.log_batch(self._id, tags=changed[:PARAMS])

    def _write_scalars(self, scalars: Sequence[tuple[int, dict[str, float]]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name_of(tag), value, now, step)
            for step, values in scalars
            for tag, value in values.items()
        ]
        for first in range(0, len(metrics), METRICS):
            self._client.log_batch(self._id, metrics=metrics[first : first + METRICS])

    def _write_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        self._client.log_image(self._id, picture, key=name_of(tag), step=step)

    def _write_files(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._client.log_artifact(self._id, str(path))

    def _end(self, status: Status) -> None:
        with environment(AT_ONCE) if status is not Status.FINISHED else nullcontext():
            self._client.set_terminated(self._id, status.name)
