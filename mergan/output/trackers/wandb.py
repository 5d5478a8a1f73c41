"""Runs in Weights & Biases: in files of the run folder, which W&B can send later, or on its server."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_only

from mergan.output.trackers.base import Status, Tracker
from mergan.system.errors import ConfigError, reason

log = logging.getLogger(__name__)

KEY = "logger.wandb"
STEP = "step"  # the axis of all curves
UPLOAD = 60.0  # seconds to wait at the end for what is still to be sent; `wandb sync` sends the rest
EXIT = {Status.FINISHED: 0, Status.FAILED: 1, Status.KILLED: 255}  # the last is W&B's for Ctrl-C
OFFLINE = ("offline", "dryrun", "disabled")


class WandbTracker(Tracker):
    """Scalars, pictures, the configuration and, at the end, the matrices.

    Args:
        mode: offline: nothing is sent; online: everything is sent as it is logged.
        project: the project of W&B.
        entity: the user or the team that owns it; None: W&B's default for you.
        group: a name that runs share, to compare groups; None: none.
        record_machine: whether W&B also records the machine: use of CPU and GPU, its name, installed
            packages, the command and the commit.
        folder: the run folder.
        config: the resolved configuration.

    Raises:
        ConfigError: `mode` is online, and W&B cannot be reached or does not know you.
    """

    def __init__(
        self,
        mode: Literal["offline", "online"],
        project: str,
        entity: str | None,
        group: str | None,
        record_machine: bool,
        folder: str | Path,
        config: Mapping[str, Any],
    ) -> None:
        super().__init__(KEY, folder, config)
        self._mode, self._record_machine = mode, record_machine
        self._project, self._entity, self._group = project, entity, group
        self._cache = Path(config["cache_dir"]) / "wandb"
        self._prepare()

    @rank_zero_only
    def _prepare(self) -> None:
        """Keep W&B's own files out of the home folder, and log in where something shall be sent."""
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        os.environ["WANDB_SILENT"] = "true"
        for part in ("CACHE", "DATA", *(["CONFIG"] if self._mode == "offline" else [])):
            os.environ.setdefault(f"WANDB_{part}_DIR", str(self._cache))
        if self._mode == "offline":
            return
        there = f"{KEY}.mode=online"
        if (said := os.environ.get("WANDB_MODE", "")) in OFFLINE:
            raise ConfigError(f"{there}: WANDB_MODE={said} says otherwise; unset it, or leave the key out")
        import wandb

        try:
            known = wandb.login(prompt=False, verify=True)
        except Exception as error:  # of the network, the server, the key
            raise ConfigError(f"{there}: W&B cannot be used ({reason(error)}); leave the key out, and "
                              "send the run later with wandb sync") from error  # fmt: skip
        if not known:
            raise ConfigError(f"{there}: W&B does not know you; run wandb login, or set WANDB_API_KEY")

    @property
    def where(self) -> str:
        """The folder of W&B's files."""
        return str(self.folder.wandb)

    def _open(self, known: str | None) -> tuple[Any, str]:
        import wandb

        run_id = known or uuid.uuid4().hex[:12]
        machine = self._record_machine
        settings = wandb.Settings(
            silent=True,
            console="off",
            host=None if machine else "",
            symlink=False,
            save_code=False,
            disable_code=True,
            disable_git=not machine,
            finish_timeout=UPLOAD,
            x_disable_meta=not machine,
            x_disable_stats=not machine,
            x_disable_machine_info=not machine,
            x_save_requirements=machine,
        )
        run = wandb.init(
            project=self._project,
            entity=self._entity,
            group=self._group,
            dir=str(self.folder.path),
            name=self.name,
            id=run_id,
            mode=self._mode,
            resume="allow" if self._mode == "online" else None,
            reinit="create_new",  # a run of W&B's that the caller may have open stays as it is
            settings=settings,
        )
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        log.info("W&B: run %s, %s in %s", run.id, self._mode, self.where)
        return run, run.id

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        self._run.config.update(dict(settings), allow_val_change=True)

    def _write_scalars(self, scalars: Sequence[tuple[int, dict[str, float]]]) -> None:
        for step, values in scalars:
            self._run.log({**values, STEP: step})

    def _write_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        import wandb

        self._run.log({tag: wandb.Image(picture), STEP: step})

    def _write_files(self, paths: Sequence[Path]) -> None:
        own = Path(self._run.dir)
        for path in paths:
            if path == self.folder.config:
                continue  # W&B has a file of that name
            shutil.copyfile(path, own / path.name)  # it would make a link to an absolute path
            self._run.save(str(own / path.name), base_path=str(own), policy="now")

    def _end(self, status: Status) -> None:
        self._run.finish(exit_code=EXIT[status])
