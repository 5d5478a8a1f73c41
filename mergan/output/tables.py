"""Plain-text tables of final figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from mergan.system.text import shown

# the figures of metrics.json that the closing table of a run shows, and their headings
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
DIGITS = {"train_seconds": 0, "fid": 1}  # decimals, if not 3


def figures(metrics: Mapping[str, float | str]) -> list[str]:
    """The cells of COLUMNS; a dash for a figure that was not computed."""
    return [_cell(key, metrics.get(key)) for key in COLUMNS]


def _cell(key: str, value: float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.{DIGITS.get(key, 3)}f}" if abs(value) < LARGE else f"{value:.3g}"


def plain(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded with spaces; the first is aligned to the left, the others to the right.

    Characters that a terminal would not draw are escaped.
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
    """A Markdown table. Pass names that come from files through `mergan.system.text.markdown` first."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def comma_separated(rows: Sequence[Sequence[str]]) -> str:
    """A CSV file; characters that are not drawn are escaped."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([shown(cell) for cell in row] for row in rows)
    return buffer.getvalue()
