"""Heat maps: what each class has lost, and the matrices (task x class)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mergan.output import plots
from mergan.reporting import charts, statistics
from mergan.reporting.drawing import METRICS, Drawing, file_name, png, title_of
from mergan.reporting.groups import Setting
from mergan.reporting.tables import Table
from mergan.system.text import shown

MOST_SETTINGS = 12  # whose matrices are drawn
MAPS = 4  # metrics of a setting that are drawn
MOST_ROWS = 30  # settings in a heat map of the forgetting


def forgetting_map(table: Table, metric: str) -> Drawing:
    """The forgetting of a metric by class: a row per setting."""
    rows = table.rows[:MOST_ROWS]
    values = np.array(
        [[np.nan if cell.value is None else cell.value for cell in row[1:]] for row in rows], float
    )
    title = f"Forgetting of the {title_of(metric)} by class"
    names = [row[0].text for row in rows]
    parts = "; ".join(
        f"{shown(name)}: {np.nanmean(own):.3g} on average" for name, own in zip(names, values, strict=True)
    )
    return Drawing(
        f"{table.name}.svg", title,
        f"Heat map of the forgetting, a row per setting, a column per class. {parts}.",
        charts.heat_chart(names, [column.heading for column in table.columns[1:]], values, "forgetting"),
        "orange: worse than at its best; white: nothing forgotten; purple: better than before",
    )  # fmt: skip


def matrices(settings: Sequence[Setting]) -> Iterator[Drawing]:
    """The matrices (task x class) of each setting, mean over its seeds."""
    taken: set[str] = set()
    for setting in settings[:MOST_SETTINGS]:
        for metric in statistics.metrics_of([setting], METRICS)[:MAPS]:
            found = statistics.mean_matrix(setting, metric)
            if found is None:
                continue
            names, rows = found
            column = "task" if statistics.is_per_task([setting], metric) else "class"
            tasks = {metric: dict(enumerate(names))} if column == "task" else {}
            picture = plots.heat_maps(
                {metric: rows}, names, {metric: statistics.higher_is_better(metric)}, tasks
            )
            title = title_of(metric)
            yield Drawing(
                file_name("matrix_", f"{setting.name}_{metric}", taken, "png"), f"{setting.name}: {title}",
                f"Heat map of {shown(title)}: a row per task, a column per {column}, {shown(setting.name)}.",
                png(picture),
            )  # fmt: skip
