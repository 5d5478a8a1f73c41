"""A table of trainings: rows of strategies, over seeds and class orders."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mergan import config
from mergan.output import plots, record, tables
from mergan.output.folder import RunFolder
from mergan.output.reading import read_figures
from mergan.reporting.groups import Setting
from mergan.reporting.runs import Run, read_run
from mergan.reproducing import figures
from mergan.reproducing.jobs import Job
from mergan.reproducing.table import TABLE, Table
from mergan.reproducing.training import training, without_places
from mergan.system.files import write_text

REAL, REAL_FIGURES = "real", "real.json"  # the row of real training images; the file of its figures
COUNTS = ("samples_per_class", "references_per_class", "reverse_per_class", "k")  # of conf/evaluation
SUMMARY, DIFFERENCES, PICTURE = "summary", "differences", "samples.png"


class TrainedTable(Table):
    """A row per setting, a training for each of its repeats.

    Args:
        rows: the overrides of each row.
        repeats: the overrides of the first, second, ... training of a row: its seed, its order of classes.
        counts: trainings of a row, if not one; at most as many as `repeats`.
        figures: the columns: figures of metrics.json, and peak_memory_bytes.
        summary: those of a shorter table; null: there is none.
        real: the row whose first run lends its data and its settings to the row of real images; null: none.
        compare: the row from which the others are subtracted, run by run; null: no differences.
    """

    def __init__(
        self,
        rows: Mapping[str, Sequence[str]],
        repeats: Sequence[Sequence[str]],
        counts: Mapping[str, int],
        figures: Sequence[str],
        summary: Sequence[str] | None,
        real: str | None,
        compare: str | None,
    ) -> None:
        self.rows = {name: tuple(words) for name, words in rows.items()}
        self.repeats = [tuple(words) for words in repeats]
        self.counts = dict(counts)
        self.figures = list(figures)
        self.summary = None if summary is None else list(summary)
        self.real = real
        self.compare = compare

    # ------------------------------------------------------------------ jobs

    def stages(self, folder: Path, only: Collection[str], overrides: Sequence[str]) -> list[list[Job]]:
        """The trainings, the first of every row before any second one; then the row of real images.

        Raises:
            ConfigError: see `Table.stages`.
        """
        trainings = []
        for repeat, words in enumerate(self.repeats):
            for row in self._chosen(only):
                if repeat < self.counts.get(row, 1):
                    typed = (*self.rows[row], *words, *overrides)
                    trainings.append(training(folder / f"{row}_{repeat}", typed))
        measurement = (
            [] if self.real is None or self.real not in only else [self._measurement(folder, overrides)]
        )
        return [trainings, measurement]

    def _chosen(self, only: Collection[str]) -> list[str]:
        return [row for row in self.rows if row in only]

    def _measurement(self, folder: Path, overrides: Sequence[str]) -> Job:
        """The job that measures real images, as the first run of the row `real` was measured."""
        assert self.real is not None
        run, done = folder / f"{self.real}_0", folder / REAL_FIGURES
        measured = config.compose(*self.rows[self.real], *self.repeats[0], *overrides).evaluation
        words = (
            str(run),
            "images=real",
            f"out={done}",
            *(f"evaluation.{key}={measured[key]}" for key in COUNTS),
        )
        return Job("mergan.evaluate", words, folder / REAL, done)

    # ------------------------------------------------------------------ results

    def texts(self, folder: Path) -> dict[str, str]:
        """ "table"; "summary" and "differences" if the table has them."""
        runs = self._runs(folder)
        made = figures.made_with([run for found in runs.values() for run in found])
        found = {TABLE: _table(runs, self.figures) + (f"\n\n{made}" if made else "")}
        if self.summary is not None:
            found[SUMMARY] = _table(runs, self.summary)
        if self.compare in runs:
            found[DIFFERENCES] = _differences(runs, self.compare, self.figures)
        return found

    def write(self, folder: Path) -> str:
        """Write the texts as Markdown files, and samples.png; returns the table."""
        texts = self.texts(folder)
        for name, text in texts.items():
            write_text(folder / f"{name}.md", text + "\n")
        grids = {
            row: grid
            for row, runs in self._runs(folder).items()
            if row != REAL and (grid := record.last_grid(runs[0].folder)) is not None
        }
        if grids:
            plots.save_png(plots.side_by_side(grids), folder / PICTURE)
        return texts[TABLE]

    def publish(self, folder: Path, to: Path) -> None:
        """Copy settings, figures, origin and matrices of every finished run.

        Of a row, the last grid of its first run is copied too.
        Folders of the machine are replaced by their defaults in the settings.
        """
        for row, runs in self._runs(folder).items():
            if row == REAL:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / REAL_FIGURES, to)
                continue
            for run in runs:
                place = to / run.folder.name
                place.mkdir(parents=True, exist_ok=True)
                for path in self._kept(RunFolder(run.folder)):
                    shutil.copy(path, place)
                write_text(RunFolder(place).config, without_places(run.config))
            grid = record.last_grid(runs[0].folder)
            if grid is not None:
                place = to / runs[0].folder.name / grid.parent.name
                place.mkdir(exist_ok=True)
                shutil.copy(grid, place)

    def _kept(self, folder: RunFolder) -> list[Path]:
        named = (folder.config, folder.figures, folder.provenance, *folder.matrices.values())
        return [path for path in named if path.is_file()]

    def _runs(self, folder: Path) -> dict[str, list[Run]]:
        """The finished runs of every row that has one, in the order of their repeats."""
        found = {
            row: [
                run
                for repeat in range(self.counts.get(row, 1))
                if (place := RunFolder(folder / f"{row}_{repeat}")).finished
                and (run := read_run(place.path)).finished
            ]
            for row in self.rows
        }
        real = folder / REAL_FIGURES
        if self.real is not None and real.is_file():
            found[REAL] = [Run(folder / REAL, {}, read_figures(real))]
        return {row: each for row, each in found.items() if each}


def _table(runs: Mapping[str, Sequence[Run]], keys: Sequence[str]) -> str:
    """A row per setting, means and standard deviations over its runs."""
    headings = ["strategy", *(figures.SHOWN[key].heading for key in keys), "runs"]
    lines = [
        [
            "real training images" if row == REAL else f"`{row}`",
            *(figures.cell(key, found) for key in keys),
            str(len(found)),
        ]
        for row, found in runs.items()
    ]
    return tables.markdown(headings, lines)


def _differences(runs: Mapping[str, Sequence[Run]], compare: str, chosen: Sequence[str]) -> str:
    """The compared row minus each other one over the repeats that both have, with bootstrap intervals."""
    keys = [key for key in chosen if figures.SHOWN[key].spread]
    settings = {row: Setting(row, {}, found, []) for row, found in runs.items() if row != REAL}
    own = settings.pop(compare)
    lines = [
        [
            f"`{compare}` - `{row}`",
            *(figures.difference(key, other, own) for key in keys),
            str(len(own.by_seed().keys() & other.by_seed().keys())),
        ]
        for row, other in settings.items()
    ]
    return tables.markdown(["difference", *(figures.SHOWN[key].heading for key in keys), "pairs"], lines)
