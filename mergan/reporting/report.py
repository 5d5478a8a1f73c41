"""The report of some runs: its files, written once all of them are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mergan.output import tables as terminal
from mergan.output.places import check_output, check_output_folder
from mergan.reporting import comparisons, grids, groups, page, sections
from mergan.reporting.generated import Source, pictures
from mergan.reporting.groups import Setting
from mergan.reporting.page import Section
from mergan.reporting.runs import Collection, collect
from mergan.system.files import replacing
from mergan.system.text import markdown, shown

PAGE, TEXT, CSV, SAMPLES = "index.html", "report.md", "report.csv", "samples.png"
FIGURES, TABLES, FILMS = "figures", "tables", "films"


def make(folders: Sequence[Path], out: Path, source: Source, overwrite: bool = False) -> None:
    """Compare runs: print the table and write the report.

    Args:
        folders: run folders, and folders that hold runs at any depth.
        out: the folder for the report; `~` stands for the home folder.
        source: where the pictures that need a generator get it.
        overwrite: whether files of another report may be replaced.

    Raises:
        ConfigError: a folder holds no run, `source` trusts what is no module, or the report must not be
            written to `out`.
    """
    source.check()
    out = check_output_folder(out)
    for name in (PAGE, TEXT, CSV, SAMPLES):
        check_output(out / name, overwrite)
    for name in (FIGURES, TABLES, FILMS):
        check_output_folder(out / name)
    found = collect(folders)
    settings = groups.grouped(found.finished)
    made = pictures(grids.chosen(settings), source, FILMS)
    content = sections.of_folders(settings, found)
    after = next(place for place, each in enumerate(content, start=1) if each.id == "samples")
    content[after:after] = made.sections
    write(settings, found, content, made.files, out, overwrite)


def write(
    settings: Sequence[Setting],
    found: Collection,
    content: Sequence[Section],
    films: Mapping[str, bytes],
    out: Path,
    overwrite: bool,
) -> None:
    """Write the files of a report, once all of them are made, and print its table.

    Raises:
        ConfigError: a file must not be written; nothing has been written then.
    """
    contents = dict(films)
    for section in content:
        contents |= {f"{FIGURES}/{each.name}": each.content for each in section.drawings}
        for table in (*section.tables, *section.folded):
            forms = {"csv": table.csv(), "md": table.markdown() + "\n", "tex": table.latex()}
            contents |= {f"{TABLES}/{table.name}.{kind}": text.encode() for kind, text in forms.items()}
    samples = grids.side_by_side(grids.chosen(settings))
    if samples is not None:
        contents[SAMPLES] = samples
    contents[CSV] = comparisons.all_figures(settings).csv().encode()
    contents[TEXT] = _text(settings, found, samples is not None).encode()
    contents[PAGE] = page.html(*_head(settings, found), content).encode()
    for name in contents:
        check_output(out / name, overwrite)
    for name, each in contents.items():
        with replacing(out / name, new=not overwrite) as temporary:
            temporary.write_bytes(each)
    _print(settings, found, out)


def _head(settings: Sequence[Setting], found: Collection) -> tuple[str, list[str]]:
    def counted(number: int, word: str) -> str:
        return f"{number} {word}{'' if number == 1 else 's'}"

    count = sum(len(setting.runs) for setting in settings)
    title = f"{counted(count, 'run')} in {counted(len(settings), 'setting')}"
    lead = (
        [f"{counted(len(found.missing), 'further run')} without final figures: see Runs."]
        if found.missing
        else []
    )
    return title, lead


def _text(settings: Sequence[Setting], found: Collection, samples: bool) -> str:
    """The report as Markdown."""
    parts = ["# Comparison of runs", comparisons.by_setting(settings).markdown(), "## Runs",
             comparisons.by_run(settings).markdown()]  # fmt: skip
    if samples:
        parts.append(f"![samples after the last task]({SAMPLES})")
    if found.missing:
        parts.append("## Left out, because they have no figures")
        parts.append(
            "\n".join(
                f"- {markdown(each.name)}: {markdown(_why(each.state, each.reason))}"
                for each in found.missing
            )
        )
    return "\n\n".join(parts) + "\n"


def _why(state: str, reason: str) -> str:
    return ": ".join(part for part in (state, reason) if part)


def _print(settings: Sequence[Setting], found: Collection, out: Path) -> None:
    table = comparisons.by_setting(settings)
    print(
        terminal.plain(
            [each.heading for each in table.columns], [[cell.text for cell in row] for row in table.rows]
        )
    )
    for each in found.missing:
        print(f"left out: {shown(each.name)}: {shown(_why(each.state, each.reason))}")
    print(f"report: {shown(str(out / PAGE))}")
