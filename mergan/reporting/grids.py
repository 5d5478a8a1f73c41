"""The runs' own sample grids, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mergan.output import plots
from mergan.reporting import groups
from mergan.reporting.drawing import Drawing, png, webp
from mergan.reporting.groups import Setting
from mergan.reporting.runs import Run
from mergan.system.text import shown

MOST_RUNS = 12  # whose pictures are shown


def chosen(settings: Sequence[Setting], most: int = MOST_RUNS) -> list[tuple[Setting, Run]]:
    """The runs whose pictures are shown: all, or the first seeds of the settings."""
    rounds = max(len(setting.runs) for setting in settings)
    first = [(each, each.runs[turn]) for turn in range(rounds) for each in settings if turn < len(each.runs)]
    kept = first[:most]
    return [(setting, run) for setting in settings for run in setting.runs if (setting, run) in kept]


def drawings(pairs: Sequence[tuple[Setting, Run]]) -> Iterator[Drawing]:
    """The grid after the last task of each run that has one (the paper's figure 3)."""
    for number, (setting, run) in enumerate(pairs, start=1):
        if run.grid is None:
            continue
        label = groups.label_of(run, setting)
        task = int(run.grid.stem.removeprefix("task_")) + 1
        yield Drawing(
            f"grid_{number:02d}.png", label,
            f"Sample grid of {shown(label)} after task {task}: a row of generated images per class, with the "
            "name of the class.",
            run.grid.read_bytes(), f"after task {task}", webp(_pixels(run.grid)),
        )  # fmt: skip


def side_by_side(pairs: Sequence[tuple[Setting, Run]]) -> bytes | None:
    """The grids of the first seed of each setting in one picture; None if no run has one."""
    first = {setting.name: run.grid for setting, run in reversed(pairs) if run.grid is not None}
    names = dict(reversed(first.items()))
    return png(plots.side_by_side(names)) if names else None


def _pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))
