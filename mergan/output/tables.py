"""Plain-text tables of final figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

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
# those that follow a column where a run has them
FURTHER = {
    "accuracy": {"judge_accuracy": "judge on real"},
    "recall": {"recall_random": "recall random"},
    "coverage": {"coverage_random": "coverage random", "coverage_pixels": "coverage pixels"},
    "fid": {
        "fid_random": "FID random",
        "fid_inception": "FID inception",
        "fid_per_task_inception": "FID per task",
    },
    "forgetting": {"recall_forgetting": "of recall", "coverage_forgetting": "of coverage"},
}

LARGE = 1e9  # figures from here on are written with three digits and an exponent
DIGITS = {  # decimals, if not 3
    "train_seconds": 0,
    "fid": 1,
    "fid_random": 1,
    "fid_inception": 1,
    "fid_per_task_inception": 1,
}


def columns(runs: Sequence[Mapping[str, float | str]]) -> dict[str, str]:
    """The figures that a table of these runs shows, and their headings: COLUMNS, and those of FURTHER that a
    run has.
    """
    found: dict[str, str] = {}
    for key, heading in COLUMNS.items():
        further = FURTHER.get(key, {})
        found |= {key: heading} | {
            name: further[name] for name in further if any(name in run for run in runs)
        }
    return found


def figures(metrics: Mapping[str, float | str], keys: Iterable[str]) -> list[str]:
    """The cells of a run; a dash for a figure that was not computed."""
    return [_cell(key, metrics.get(key)) for key in keys]


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
