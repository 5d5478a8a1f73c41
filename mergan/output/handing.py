"""What a logger may take besides scalars, and how it is handed to all loggers of a run.

A logger of Lightning's knows neither pictures nor final figures. One of mergan's, or one of yours, has the
methods of these protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class TakesPictures(Protocol):
    """A logger that shows pictures."""

    def log_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Take a picture.

        Args:
            tag: what it shows, e.g. "samples".
            picture: uint8 (H, W, 3).
            step: the number of the task after which it was drawn, from 1.
        """


@runtime_checkable
class TakesFinalFigures(Protocol):
    """A logger that keeps the final figures apart from the scalars."""

    def log_final(self, settings: Mapping[str, Any], figures: Mapping[str, float], step: int) -> None:
        """Take the final figures; the last call of a run that has come to its end.

        Args:
            settings: the configuration, nested; `tasks` is the stream as text.
            figures: by tag, e.g. "final/accuracy".
            step: the last step.
        """


def hand_picture(loggers: Iterable[Any], tag: str, draw: Callable[[], np.ndarray], step: int) -> None:
    """Hand a picture to the loggers that show pictures; it is drawn only if there is such a logger."""
    takers = [logger for logger in loggers if isinstance(logger, TakesPictures)]
    if not takers:
        return
    picture = draw()
    for taker in takers:
        taker.log_picture(tag, picture, step)


def hand_final(
    loggers: Iterable[Any], settings: Mapping[str, Any], figures: Mapping[str, float], step: int
) -> None:
    """Hand the final figures to all loggers, and close these."""
    for logger in loggers:
        if isinstance(logger, TakesFinalFigures):
            logger.log_final(settings, figures, step)
        else:
            logger.log_hyperparams(settings)
            logger.log_metrics(figures, step=step)
        logger.save()
        logger.finalize("success")
