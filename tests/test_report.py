"""mergan.report on the folders of finished runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mergan import plots, report


def finished_run(folder: Path, strategy: str, accuracy: float, forgetting: float | None) -> Path:
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text(
        f"strategy: {{_target_: x.{strategy}}}\nseed: 0\nepochs: 3\nlr: 0.001\n"
    )
    metrics = {"accuracy": accuracy, "fid": 251.26, "train_seconds": 12.0, "evaluation_split": "val"}
    if forgetting is not None:
        metrics["forgetting"] = forgetting
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "accuracy_matrix.csv").write_text("task,0,1\n0,1.0,\n1,0.5,0.7\n")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "samples" / "task_01.png")
    return folder


def test_report_compares_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = finished_run(tmp_path / "a b=c,d", "Finetune", 0.2, 0.9)
    second = finished_run(tmp_path / "second", "Joint", 0.97, None)
    out = tmp_path / "report"
    assert report.main([str(first), str(second), f"out={out}"]) == 0
    text = (out / "report.md").read_text()
    assert "| Finetune | 0.200 | - | - | - | 251.3 | 0.900 | 12 |" in text
    assert "| Joint | 0.970 | - | - | - | 251.3 | - | 12 |" in text
    with (out / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["accuracy"] for row in rows] == ["0.2", "0.97"]
    assert rows[1]["forgetting"] == ""
    assert rows[0]["evaluation_split"] == "val"
    for name in ("accuracy.png", "samples.png"):
        assert np.asarray(Image.open(out / name)).std() > 0, name
    assert "0.970" in capsys.readouterr().out


def test_a_sweep_folder_stands_for_its_finished_runs(tmp_path: Path) -> None:
    finished_run(tmp_path / "sweep" / "0_finetune", "Finetune", 0.2, 0.9)
    finished_run(tmp_path / "sweep" / "1_joint", "Joint", 0.9, None)
    (tmp_path / "sweep" / "2_failed").mkdir()
    assert [path.name for path in report.find_runs([tmp_path / "sweep"])] == ["0_finetune", "1_joint"]


@pytest.mark.parametrize("case", ["missing", "unfinished", "broken", "nothing"])
def test_what_is_no_finished_run_is_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    if case == "unfinished":
        folder.mkdir()
        (folder / "config.yaml").write_text("seed: 0\n")
    if case == "broken":
        finished_run(folder, "Joint", 0.9, None)
        (folder / "metrics.json").write_text("{")
    arguments = [] if case == "nothing" else [str(folder)]
    assert report.main([*arguments, f"out={tmp_path / 'report'}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert case == "nothing" or str(folder) in error
    assert not (tmp_path / "report").exists()


def test_tile_puts_rows_and_columns_where_they_belong() -> None:
    images = np.zeros((2, 3, 1, 4, 4), np.uint8)
    images[1, 2] = 200
    picture = plots.tile(images, gap=1)
    assert picture.shape == (2 * 5 + 1, 3 * 5 + 1, 3)
    assert (picture[6:10, 11:15] == 200).all()
    assert (picture[1:5, 1:5] == 0).all()


def test_heat_maps_show_the_values_and_which_way_is_better() -> None:
    def drawn(value: float, higher_is_better: bool = True) -> np.ndarray:
        rows = [{0: 0.5}, {0: 0.0, 1: value}]
        return plots.heat_maps({"a": rows, "empty": [{}, {}]}, ["0", "1"], {"a": higher_is_better})

    low, high, turned = drawn(0.1), drawn(1.0), drawn(1.0, higher_is_better=False)
    assert low.shape == high.shape == turned.shape
    assert not np.array_equal(low, high) and not np.array_equal(high, turned)
    wide = plots.heat_maps({name: [{0: 1.0}] for name in "abcde"}, ["0"], dict.fromkeys("abcde", True))
    assert wide.shape[1] > 3 * low.shape[1] and wide.shape[0] > 1.5 * low.shape[0]  # four and one
