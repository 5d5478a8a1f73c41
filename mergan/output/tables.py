"""Plain-text tables of final figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from mergan.system.text import shown

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

LARGE = 1e9  # figures from here on are written with three digits and an exponent
DIGITS = {"train_seconds": 0, "fid": 1}  # behind the point, where it is not 3


def figures(metrics: Mapping[str, float | str]) -> list[str]:
    """The cells of COLUMNS; a figure that was not computed is a dash."""
    return [_cell(key, metrics.get(key)) for key in COLUMNS]


def _cell(key: str, value: float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.{DIGITS.get(key, 3)}f}" if abs(value) < LARGE else f"{value:.3g}"


def plain(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded with spaces; the first is aligned to the left, the others to the right.

    What a terminal would not draw is escaped.
    """
    lines = [[shown(cell) for cell in line] for line in (headings, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. Names that come from files go through `mergan.system.text.markdown` first."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def comma_separated(rows: Sequence[Sequence[str]]) -> str:
    """A CSV file; characters that are not drawn are escaped."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([shown(cell) for cell in row] for row in rows)
    return buffer.getvalue()
