"""One of the processes that mergan.run.several starts for a run. It leaves the last word to that process."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mergan import config
from mergan.cli import jobs, messages
from mergan.run import launch, several
from mergan.system import environment, interrupts, standard_streams
from mergan.system.errors import LostProcessError
from mergan.system.files import write_text
from mergan.system.launched import OURS, member

config.register()


failed: list[Exception] = []  # what ended the run; Hydra would print more about it


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name="train")
def _work(cfg: DictConfig) -> None:
    """Take part in the run."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        cfg, _ = jobs.checked(cfg, folder)
        jobs.get_ready(cfg)
        launch.run(cfg, folder, jobs.PATIENCE)
    except Exception as error:
        failed.append(error)


def main() -> int:
    """The process; returns its exit status."""
    standard_streams.secure()
    interrupts.install()
    threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        environment.settle()
        if not member().leads:
            standard_streams.silence()
        _work()
    except KeyboardInterrupt:
        return interrupts.CTRL_C
    except interrupts.Interrupted as stop:
        return stop.exit_status
    return _report(failed[0]) if failed else 0


def _report(error: Exception) -> int:
    """Leave the message of an error to the process that started this one; returns the exit status."""
    if isinstance(error, LostProcessError):
        return several.LOST
    status = messages.status(error)
    if status == messages.UNEXPECTED:
        traceback.print_exception(error)
    else:
        write_text(Path(os.environ[OURS]), messages.one_line(error))
    return status


def _end_with_starter() -> None:
    """Stop this process, between two steps if it can be, when the one that started it has ended."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(several.PATIENCE)
    os._exit(interrupts.ASKED_TO_END)


if __name__ == "__main__":
    standard_streams.leave(main())
