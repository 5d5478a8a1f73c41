"""`.webp` and `.gif`: a film of the same z through all tasks of a run, or along an interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mergan.output import plots
from mergan.output.formats.base import Format, Samples, check_columns, row_name
from mergan.system.files import replacing

TASK, LAST, STEP = 1000, 2500, 120  # milliseconds that a frame stays


class Film(Format):
    """A grid per frame, in an endless loop.

    Of a run: a frame per task, in which the row of a class appears with the task that brings it. Of an
    interpolation: all paths forth and back.

    Args:
        name: of the format in Pillow.
        **options: of Pillow for this format.
    """

    per_class = 10
    paths_per_class = 10
    titled = True
    every_task = True

    def __init__(self, name: str, **options: Any) -> None:
        self._name = name
        self._options = options

    def check_count(self, classes: int, per_class: int, steps: int) -> None:
        check_columns("per_class", per_class)

    def write(self, samples: Sequence[Samples], out: Path, overwrite: bool) -> list[str]:
        steps = samples[0].images.shape[2]
        shown = [(own, step) for own in samples for step in range(steps)]
        durations = [TASK] * (len(shown) - 1) + [LAST]
        if steps > 1:
            shown += shown[-2:0:-1]  # the way back, without the two ends
            durations = [STEP] * len(shown)
        labels = list(dict.fromkeys(label for own in samples for label in own.labels))
        frames = [_drawn(own, step, labels) for own, step in shown]
        with replacing(out, new=not overwrite) as temporary, temporary.open("wb") as file:
            plots.save_animation(frames, durations, file, self._name, **self._options)
        return [f"film of {len(shown)} frames, {len(labels)} classes, written to {out}"]


def _drawn(samples: Samples, step: int, labels: Sequence[int]) -> np.ndarray:
    """The grid of a frame, with room for the classes that are learned later."""
    nothing = np.empty((0, *samples.images.shape[3:]), dtype=np.uint8)
    images = dict(zip(samples.labels, samples.images[:, :, step], strict=True))
    notes = dict(zip(samples.labels, samples.notes, strict=True))
    rows = [
        plots.Row(row_name(samples, label), images.get(label, nothing), notes.get(label, ""))
        for label in labels
    ]
    return plots.grid(rows, samples.title)
