"""docs/tour.ipynb: it runs on a tiny budget, and the outputs in it are those of its cells."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import nbformat
import tiny

TOUR = tiny.ROOT / "docs" / "tour.ipynb"
TINY = [
    *(word for word in tiny.SETTINGS if not word.startswith(("epochs", "scenario", "steps_per"))),
    "scenario.tasks=[[0,1],[2],[3]]",
    "epochs=1",
    "steps_per_epoch=1",
    "logger.tensorboard=null",
    "callbacks.progress.bar=false",
]


def test_the_tour_runs_from_top_to_bottom(cache_dir: Path, tmp_path: Path) -> None:
    executed = runpy.run_path(str(tiny.ROOT / "docs" / "tour.py"))["executed"]
    notebook = executed(tmp_path, {"SETTINGS": [*TINY, f"cache_dir={cache_dir}"]})
    printed = "".join(
        output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    )
    assert printed.count("task 3/3") == 3 and "draws the same pictures: True" in printed
    for name in ("film.gif", "generator.safetensors", "same_pixels/metrics.json"):
        assert (tmp_path / "tour" / name).is_file(), name


def test_its_outputs_are_kept_small_and_free_of_paths() -> None:
    text = TOUR.read_text(encoding="utf-8")
    assert len(text) < 500_000
    notebook = nbformat.reads(text, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    printed = [output for cell in code for output in cell.outputs]
    assert not [output for output in printed if output.output_type == "error"]
    kinds = {kind for output in printed for kind in output.get("data", {})}
    assert {"image/png", "image/gif", "text/html"} <= kinds
    assert not re.search(r"/(tmp|home|root|work)/", "".join(map(str, printed)))
    for page in re.findall(r"\]\(([\w-]+\.md)\)", text):
        assert (TOUR.parent / page).is_file(), page
