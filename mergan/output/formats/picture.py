"""`.png`: a grid with a row per class and its name; of an interpolation, a row per path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mergan.output import plots
from mergan.output.formats.base import Format, Samples, check_columns, counted, row_name
from mergan.system.errors import ConfigError


class Picture(Format):
    """One picture."""

    per_class = 10
    paths_per_class = 1
    titled = True

    def check_count(self, classes: int, per_class: int, steps: int) -> None:
        if steps == 1:
            check_columns("per_class", per_class)
            return
        check_columns("interpolate", steps)
        if per_class > 1 and classes * per_class > plots.MOST_ROWS:
            raise ConfigError(
                f"per_class={per_class}: a picture shows at most {plots.MOST_ROWS} paths, these are "
                f"{classes * per_class:,}; use fewer, or another suffix of out"
            )

    def write(self, samples: Sequence[Samples], out: Path, overwrite: bool) -> list[str]:
        (own,) = samples
        plots.save_png(plots.grid(_rows(own), own.title), out, new=not overwrite)
        return [f"{counted(own)} written to {out}"]


def _rows(samples: Samples) -> list[plots.Row]:
    """A row per class, or per path."""
    _, paths, steps = samples.images.shape[:3]
    rows = []
    for label, images, note in zip(samples.labels, samples.images, samples.notes, strict=True):
        name = row_name(samples, label)
        if steps == 1:
            rows.append(plots.Row(name, images[:, 0], note))
        else:
            rows += [
                plots.Row(name, path, note if paths == 1 else f"path {number}")
                for number, path in enumerate(images, start=1)
            ]
    return rows
