"""`NAME_matrix.csv`: the values of a metric after every task; mergan.output.reading reads it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from mergan.system.files import replacing


def write_matrix(path: Path, rows: Sequence[Mapping[int, float]], names: Mapping[int, str]) -> None:
    """Write a matrix: one line per task, one column per class or task; missing values stay empty.

    Args:
        path: of the file.
        rows: one per task, values by column.
        names: what the columns are called.
    """
    columns = sorted(set().union(*rows))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["task", *(names[column] for column in columns)])
        for index, row in enumerate(rows):
            writer.writerow([index, *(f"{row[column]:.4f}" if column in row else "" for column in columns)])
