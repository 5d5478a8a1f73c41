"""docs/own-images.md: every command runs on a folder of photographs, and says what the page shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import tiny
from PIL import Image
from test_readme import blocks, run

PAGE = (tiny.ROOT / "docs" / "own-images.md").read_text(encoding="utf-8")
COMMANDS = [line for block in blocks("bash", PAGE) for line in block.splitlines()]
LINES = blocks("text", PAGE)[0].splitlines()

# what makes a run tiny and does not say what the data is
TINY = [
    *(word for word in tiny.SETTINGS if not word.startswith(("data", "scenario", "epochs"))),
    "epochs=1",
    tiny.HEAT_MAPS,
]


def photographs(folder: Path) -> None:
    """Three classes of 10, 60 and 30 coloured pictures of 640 x 480 pixels."""
    across, down = np.meshgrid(np.linspace(0, 255, 640), np.linspace(0, 255, 480))
    for name, count in (("bird", 10), ("cat", 60), ("dog", 30)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.stack([across, down, np.full_like(across, 4 * index)], axis=2)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.jpg")


def test_the_page_leads_from_photographs_to_a_report(tmp_path: Path) -> None:
    photographs(tmp_path / "photographs")
    for command in COMMANDS:
        further = [] if "resume=auto" in command else TINY
        measures = tiny.MEASURES if command.startswith("mergan evaluate") else []
        result = run(shlex.join([*shlex.split(command), *measures]), tmp_path, further)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        if command == COMMANDS[0]:
            said = result.stdout.splitlines()
            assert [line for line in LINES if line not in said] == []
        if "resume=auto" in command:
            assert "finished already, nothing is left to do" in result.stdout
    with np.load(tmp_path / "pets.npz") as pets:
        assert pets["images"].shape == (16, 3, 64, 64)
        assert pets["labels"].tolist() == [1] * 8 + [2] * 8
    assert "accuracy" in json.loads((tmp_path / "figures.json").read_text())
    report = (tmp_path / "own" / "report.md").read_text()
    assert all(name in report for name in ("joint_retrain", "finetune", "replay_alignment"))
    for name in ("samples/real.png", "samples/task_00.png", "matrices.png", "config.yaml"):
        assert (tmp_path / "runs" / "mine" / name).is_file()


def test_the_page_names_settings_and_pages_that_exist() -> None:
    for path in re.findall(r"\]\(([\w-]+\.md)\)", PAGE):
        assert (tiny.ROOT / "docs" / path).is_file(), path
    assert {shlex.split(command)[1] for command in COMMANDS} == {"train", "sample", "evaluate", "report"}
