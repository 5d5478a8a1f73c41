"""Run docs/tour.ipynb from top to bottom and keep its outputs in it: `python docs/tour.py`, or `make tour`.

The notebook runs in an empty folder, so that every output is made by the notebook itself.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).with_name("tour.ipynb")
MINUTES = 30  # after which a cell counts as stuck


def executed(folder: Path, parameters: Mapping[str, Any] | None = None) -> nbformat.NotebookNode:
    """The notebook after it has run.

    Args:
        folder: where it runs; files with relative names are written there.
        parameters: other values for names that its cell tagged "parameters" sets.

    Raises:
        CellExecutionError: a cell ended with an error.
    """
    notebook = nbformat.read(TOUR, as_version=4)
    lines = [f"{name} = {value!r}" for name, value in (parameters or {}).items()]
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = "\n".join([cell.source, *lines])
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=60 * MINUTES, record_timing=False, resources=where).execute()
    return notebook


def tidied(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook with what is printed in one piece per cell, and without the path of `folder`."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        rest = [output for output in cell.outputs if output.output_type != "stream"]
        text = printed.replace(f"{folder.resolve()}/", "").replace("\r\n", "\n")
        cell.outputs = [*([nbformat.v4.new_output("stream", text=text)] if text else []), *rest]
    notebook.metadata.language_info = {"name": "python"}  # without the version of this machine
    return notebook


def main() -> int:
    """Run the notebook and write it back."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        notebook = tidied(executed(folder), folder)
    nbformat.write(notebook, TOUR)
    print(f"{TOUR}: {TOUR.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
