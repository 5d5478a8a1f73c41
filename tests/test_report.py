"""mergan.report on the folders of finished runs."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from test_run_files import bomb

from mergan.output import record
from mergan.report import main
from mergan.reporting import groups, runs


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
    assert main([str(first), str(second), f"out={out}"]) == 0
    text = (out / "report.md").read_text()
    assert "| Finetune | 1 | 0.200 | 251.3 | 0.900 | 12 |" in text
    assert "| Joint | 1 | 0.970 | 251.3 | - | 12 |" in text
    with (out / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["accuracy"] for row in rows] == ["0.2", "0.97"]
    assert rows[1]["forgetting"] == ""
    assert rows[0]["evaluation_split"] == "val"
    assert np.asarray(Image.open(out / "samples.png")).std() > 0
    assert "0.970" in capsys.readouterr().out


def test_a_sweep_folder_stands_for_its_finished_runs(tmp_path: Path) -> None:
    finished_run(tmp_path / "sweep" / "0_finetune", "Finetune", 0.2, 0.9)
    finished_run(tmp_path / "sweep" / "1_joint", "Joint", 0.9, None)
    (tmp_path / "sweep" / "2_failed").mkdir()
    assert [path.name for path in runs.below(tmp_path / "sweep")] == ["0_finetune", "1_joint"]
    assert [path.name for path in runs.below(tmp_path)] == ["0_finetune", "1_joint"]


BROKEN = {
    "empty figures": ("metrics.json", b""),
    "cut figures": ("metrics.json", b'{"accuracy": 0.'),
    "no number": ("metrics.json", b'{"accuracy": "\\u001b[2Jhigh"}'),
    "code": ("config.yaml", b"a: !!python/object/apply:os.system ['touch ran']"),
    "escapes": ("config.yaml", b"a: !\xc2\x9b31m 3"),
    "no table": ("accuracy_matrix.csv", b"task,0\n"),
    "no share": ("accuracy_matrix.csv", b"task,0\n0,1.5\n"),
    "no picture": ("samples/task_01.png", b"PNG"),
    "a bomb": ("samples/task_100.png", bomb(60_000)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_run_is_refused_by_name_and_in_a_sweep_left_out(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, content = BROKEN[case]
    broken = finished_run(tmp_path / "sweep" / "0_broken", "Joint", 0.9, None)
    (broken / name).write_bytes(content)
    # a sweep of which none is left
    assert main([str(tmp_path / "sweep")]) == 2
    assert str(broken / name) in capsys.readouterr().err
    # named
    whole = finished_run(tmp_path / "sweep" / "1_whole", "Finetune", 0.2, 0.9)
    assert main([str(whole), str(broken)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(broken / name) in error and error.isprintable() is False
    assert error.strip().isprintable()
    assert os.listdir(tmp_path) == ["sweep"]
    # one of a sweep
    assert main([str(tmp_path / "sweep")]) == 0
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("left out: ")]
    assert str(broken / name) in line and line.isprintable()
    text = (tmp_path / "report" / "report.md").read_text()
    assert "Finetune" in text and "Joint |" not in text and "Left out" in text
    assert not (tmp_path / "ran").exists()


def test_names_from_files_are_escaped_wherever_they_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    names = [
        "a|b <b>x</b> [y](z) `c` $10_$20",
        "\x1b[31mred\nline\u202e",
        "![p](http://x)",
        os.fsdecode(b"\xff"),
    ]
    for number, name in enumerate(names):
        run = finished_run(tmp_path / "runs" / f"{number}{name.replace('/', '_')}", "Joint", 0.5, None)
        config = {
            "strategy": {"_target_": f"x.{name}", "mode": name * 100},
            "seed": f"${{oc.env:HOME}}{number}",
            "lr": number,
        }
        text = json.dumps(config).replace("\\udcff", "?")
        (run / "config.yaml").write_text(text)
        (run / "metrics.json").write_text(
            json.dumps({"accuracy": 0.5, f"recall_class_{name}".replace("\udcff", "?"): 1})
        )
    assert main([str(tmp_path / "runs"), f"out={tmp_path / 'report'}"]) == 0
    printed = capsys.readouterr().out
    markdown, table = ((tmp_path / "report" / f"report.{kind}").read_text() for kind in ("md", "csv"))
    for text in (printed, markdown, table):
        assert all(line.isprintable() for line in text.splitlines()), text
        assert "/home/somebody" not in text and len(max(text.splitlines(), key=len)) < 2500
    assert "${oc.env:HOME}3" in table
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) == 12 and len({row.count("|") for row in rows[:6]}) == 1  # settings, then runs
    assert (
        not {"<b>", "](z)", "`c`", "](http"} & set(markdown) and "<b>" not in markdown and "`" not in markdown
    )


def test_nothing_is_written_over_unless_the_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = finished_run(tmp_path / "run", "Joint", 0.5, None), tmp_path / "report"
    arguments = [str(run), f"out={out}"]
    assert main(arguments) == 0
    before = (out / "report.md").read_text()
    finished_run(tmp_path / "other", "Finetune", 0.1, None)
    arguments[0] = str(tmp_path / "other")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "overwrite=true" in error and error.count("\n") == 1
    assert (out / "report.md").read_text() == before
    assert main([*arguments, "overwrite=true"]) == 0
    assert "Finetune" in (out / "report.md").read_text()
    (out / "report.csv").unlink()
    (out / "report.csv").symlink_to(run / "metrics.json")
    figures = (run / "metrics.json").read_bytes()
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    places = [out, run, run / "samples", tmp_path / "file", tmp_path / "dangling", Path("/dev/null")]
    for place in places:
        assert main([str(run), f"out={place}", "overwrite=true"]) == 2, place
        assert capsys.readouterr().err.count("\n") == 1
    assert (run / "metrics.json").read_bytes() == figures
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    assert main([str(run), f"out={tmp_path / 'linked'}"]) == 0
    assert main([str(run), f"out={run / 'report'}"]) == 0  # a folder of its own below the run's


@pytest.mark.parametrize(
    "words",
    [["--x"], ["-m"], ["foo=bar"], ["--help=1"], ["out="], ["out=a", "out=b"], ["overwrite=yes"], [""],
     ["out"],     ["nowhere"], ["\x1b[31m"], ["a\0b"]],
)  # fmt: skip
def test_words_that_mean_nothing_are_refused_in_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = finished_run(tmp_path / "run", "Joint", 0.5, None)
    assert main([str(run), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and error.strip().isprintable()
    assert os.listdir(tmp_path) == ["run"]


def test_runs_of_the_same_name_are_told_apart_and_none_counts_twice(tmp_path: Path) -> None:
    first = finished_run(tmp_path / "a" / "run", "Joint", 0.5, None)
    second = finished_run(tmp_path / "b" / "run", "Joint", 0.6, None)
    found = runs.collect([first, second, first, tmp_path / "a"])
    assert [run.figures["accuracy"] for run in found.finished] == [0.5, 0.6] and not found.missing
    (setting,) = groups.grouped(found.finished)
    assert setting.runs == [found.finished[0]] and setting.repeats == [found.finished[1]]


def test_the_last_grid_is_that_of_the_last_task(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", "Joint", 0.5, None)
    assert record.last_grid(run) == run / "samples" / "task_01.png"
    for name in ("task_99.png", "task_100.png"):
        shutil.copy(run / "samples" / "task_01.png", run / "samples" / name)
    (run / "samples" / "task_x.png").write_text("")
    assert record.last_grid(run) == run / "samples" / "task_100.png"


def test_the_runs_of_the_results_can_be_reported(tmp_path: Path) -> None:
    folders = sorted(tiny.ROOT.glob("docs/results/*/*_[0-9]"))
    found = runs.collect([tiny.ROOT / "docs"])
    assert len(found.finished) == len(folders) > 5 and not found.missing
    assert all(run.grid for run in found.finished if run.folder.name.endswith("_0"))
    for table in ("mnist", "defaults"):
        of_table = [run for run in found.finished if run.folder.parent.name == table]
        names = {run.folder.name.rpartition("_")[0] for run in of_table}
        assert {setting.name.split(",")[0] for setting in groups.grouped(of_table)} == names


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
    assert main([*arguments, f"out={tmp_path / 'report'}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert case == "nothing" or str(folder) in error
    assert not (tmp_path / "report").exists()
