"""A table of searches: the settings of each strategy, chosen by the same number of trials."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mergan.output import tables
from mergan.reporting.records import TRIALS, trials
from mergan.reporting.runs import FINISHED
from mergan.reproducing.jobs import Job
from mergan.reproducing.table import TABLE, Table
from mergan.system.errors import ConfigError
from mergan.system.files import write_text
from mergan.system.text import shown

BEST = "best_command.txt"  # what a search leaves in its folder at last (docs/search.md)


class SearchedTable(Table):
    """A row per strategy, a search for each.

    Args:
        rows: what is searched, per row.
        common: the words of every search.
        metric: the figure of the trials that chooses, higher is better.
        figures: the figures of the best trial that are shown.
    """

    def __init__(
        self,
        rows: Mapping[str, Sequence[str]],
        common: Sequence[str],
        metric: str,
        figures: Sequence[str],
    ) -> None:
        self.rows = {name: tuple(words) for name, words in rows.items()}
        self.common = tuple(common)
        self.metric = metric
        self.figures = list(figures)

    def stages(self, folder: Path, only: Collection[str], overrides: Sequence[str]) -> list[list[Job]]:
        """The searches."""
        fixed = (*self.common, f"search.metric={self.metric}", *overrides)
        return [
            [
                Job(
                    "mergan.search",
                    (*words, *fixed, f"search.dir={folder / row}"),
                    folder / row,
                    folder / row / BEST,
                )
                for row, words in self.rows.items()
                if row in only
            ]
        ]

    def texts(self, folder: Path) -> dict[str, str]:
        """ "table": the values of the best trial of each search, and its figures."""
        lines = []
        for row in self.rows:
            found = self._finished(folder / row)
            if found:
                best = max(found, key=lambda trial: float(trial[self.metric]))
                searched = ", ".join(f"`{key}={best[key]}`" for key in self._searched(row))
                lines.append(
                    [
                        f"`{row}`",
                        searched,
                        *(_figure(best.get(key)) for key in self.figures),
                        str(len(found)),
                    ]
                )
        return {TABLE: tables.markdown(["strategy", "chosen", *self.figures, "trials"], lines)}

    def _searched(self, row: str) -> list[str]:
        """The keys that a search varies."""
        return [word.partition("=")[0] for word in self.rows[row] if word.endswith(")")]

    def _finished(self, folder: Path) -> list[dict[str, str]]:
        """The finished trials of a search, none if it has not begun.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            found = [trial for trial in trials(folder) if trial.get("state") == FINISHED]
        except FileNotFoundError:
            return []
        for trial in found:
            try:
                float(trial[self.metric])
            except (KeyError, TypeError, ValueError) as error:
                path = folder / TRIALS
                raise ConfigError(shown(f"{path}: cannot be read (a trial without {self.metric})")) from error
        return found

    def write(self, folder: Path) -> str:
        """Write table.md; returns it."""
        text = self.texts(folder)[TABLE]
        write_text(folder / f"{TABLE}.md", text + "\n")
        return text

    def publish(self, folder: Path, to: Path) -> None:
        """Copy trials.csv of every search."""
        for row in self.rows:
            if (folder / row / TRIALS).is_file():
                (to / row).mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / row / TRIALS, to / row)


def _figure(text: str | None) -> str:
    return f"{float(text):.3f}" if text else "-"
