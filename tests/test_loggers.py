"""What becomes of the event file when a run ends early."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from mergan.loggers import tensorboard


@pytest.mark.parametrize(
    ("error", "closed"), [(KeyboardInterrupt(), False), (ValueError(), True), (None, True)]
)
def test_an_interruption_does_not_wait_for_the_event_writer(
    tmp_path: Path, error: BaseException | None, closed: bool
) -> None:
    logger = tensorboard(tmp_path)
    logger.log_metrics({"kept": 1.0}, step=3)
    logger.save()
    worker = logger.experiment.file_writer.event_writer._async_writer._worker
    try:
        if error is not None:
            raise error
        logger.finalize("success")
    except BaseException:
        logger.finalize("failed")
    assert worker.is_alive() != closed
    assert tiny.event_steps(tmp_path)["kept"] == [3]
