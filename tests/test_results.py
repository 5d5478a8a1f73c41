"""The tables of README and docs say what the runs in docs/results say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tiny
import yaml

from mergan.reproducing import table

RESULTS = tiny.ROOT / "docs" / "results"
MARKER = re.compile(r"^<!-- table: (\w+)(?: (\w+))? -->\n((?:\|.*\n)+)(?:\n(?!\||<)(.*)\n)?", re.MULTILINE)
PAGES = [tiny.ROOT / "README.md", *sorted((tiny.ROOT / "docs").glob("*.md"))]
FOUND = [
    pytest.param(match, id=f"{page.name}: {match[1]} {match[2] or 'table'}")
    for page in PAGES
    for match in MARKER.finditer(page.read_text(encoding="utf-8"))
]
MOST_BYTES = 20_000_000  # of docs/results


@pytest.mark.parametrize("match", FOUND)
def test_a_table_is_made_of_the_results(match: re.Match[str]) -> None:
    text = table.load(match[1]).texts(RESULTS / match[1])[match[2] or "table"]
    shown, _, made = text.partition("\n\n")
    assert match[3].rstrip("\n") == shown
    if made:
        assert match[4] == made


def test_all_results_are_shown() -> None:
    shown = {match.values[0][1] for match in FOUND}  # type: ignore[index]
    assert shown == {path.name for path in RESULTS.iterdir() if path.is_dir()} and len(FOUND) >= 2
    assert sum(text.read_text(encoding="utf-8").count("<!-- table:") for text in PAGES) == len(FOUND)


def test_results_are_small_and_name_no_place_of_a_machine() -> None:
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    for path in files:
        assert path.suffix in (".yaml", ".json", ".csv", ".png"), path
        if path.name == "config.yaml":
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            places = [content["cache_dir"], content["data"]["root"]]
            assert not any(Path(place).is_absolute() for place in places), path
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
