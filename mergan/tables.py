"""Plain-text tables of final figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

# what the closing table of a run shows of metrics.json, and under which heading
COLUMNS = {
    "accuracy": "accuracy",
    "reverse_accuracy": "reverse accuracy",
    "recall": "recall",
    "coverage": "coverage",
    "fid": "FID",
    "forgetting": "forgetting",
    "train_seconds": "seconds",
}

DIGITS = {"train_seconds": 0, "fid": 1}  # behind the point, where it is not 3


def figures(metrics: Mapping[str, float | str]) -> list[str]:
    """The cells of COLUMNS; a figure that was not computed is a dash."""
    return [_cell(key, metrics.get(key)) for key in COLUMNS]


def _cell(key: str, value: float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.{DIGITS.get(key, 3)}f}"


def plain(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded with spaces; the first is aligned to the left, the others to the right."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def comma_separated(rows: Sequence[Sequence[str]]) -> str:
    """A CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
