"""Tables that leave as HTML, CSV, Markdown and LaTeX, with names that are data in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mergan.output import tables
from mergan.system.text import markdown, shown

NONE = "-"
LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$",
} | {mark: f"\\{mark}" for mark in "&%$#_{}"}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: as people read it.
        value: exact, for programs; None for words.
        further: further exact values, e.g. the standard deviation; as many as the column has `parts`.
    """

    text: str
    value: float | None = None
    further: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        heading: as people read it.
        key: its name in CSV and for programs.
        parts: suffixes of the keys of the further values, e.g. ("_std", "_n").
        words: whether it holds words, which are aligned to the left.
    """

    heading: str
    key: str
    parts: tuple[str, ...] = ()
    words: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its files.
        caption: what it shows.
        columns: its columns; the first names the rows.
        rows: its cells.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]] = field(default_factory=list)

    def csv(self) -> str:
        """Comma-separated: exact values, each in a column of its own; nothing where there is none."""
        heading = [f"{column.key}{part}" for column in self.columns for part in ("", *column.parts)]
        return tables.comma_separated([heading, *([*self._exact(row)] for row in self.rows)])

    def _exact(self, row: Sequence[Cell]) -> list[str]:
        found: list[str] = []
        for column, cell in zip(self.columns, row, strict=True):
            found.append(
                repr(cell.value) if cell.value is not None else cell.text if cell.text != NONE else ""
            )
            further = (*cell.further, *([None] * len(column.parts)))[: len(column.parts)]
            found += ["" if value is None else repr(value) for value in further]
        return found

    def markdown(self) -> str:
        """A Markdown table."""
        heading = [markdown(column.heading) for column in self.columns]
        return tables.markdown(heading, [[_marked(cell) for cell in row] for row in self.rows])

    def latex(self) -> str:
        r"""A LaTeX `tabular`, with the rules of booktabs."""
        lines = [
            f"% {shown(self.caption)}",
            r"% \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{''.join('l' if column.words else 'r' for column in self.columns)}}}",
            r"\toprule",
            _latex_row([column.heading for column in self.columns]),
            r"\midrule",
            *(_latex_row([cell.text for cell in row]) for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    r"""A name for LaTeX text: nothing in it is a command.

    >>> latex("a_1 & 50%")
    'a\\_1 \\& 50\\%'
    """
    return "".join(LATEX.get(character, character) for character in shown(text))


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(NONE if cell == NONE else latex(cell) for cell in cells) + r" \\"


def _marked(cell: Cell) -> str:
    return cell.text if cell.value is not None or cell.text == NONE else markdown(cell.text)
