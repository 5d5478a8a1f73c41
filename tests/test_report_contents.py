"""The page of the report: its numbers, its names, and runs of all kinds."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from mergan.output.sweep import SweepFolder
from mergan.output.sweep_jobs import Job, Status
from mergan.report import main
from mergan.reporting import charts, grids, groups, logs, runs, statistics

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt; $x^2$ {{7*7}} `a` \\b|c"


class Page(HTMLParser):
    """The elements of a page, its tables, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[dict[str, dict[str, str | None]]]] = {}
        self.text, self.source = "", path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.elements.append((tag, own))
        if tag == "table":
            self.rows = self.tables.setdefault(str(own["id"]), [])
        if tag == "tr":
            self.rows.append({})
        if "data-key" in own:
            self.cell = self.rows[-1].setdefault(str(own["data-key"]), dict(own) | {"text": ""})

    def handle_data(self, data: str) -> None:
        self.text += data
        if hasattr(self, "cell"):
            self.cell["text"] = str(self.cell["text"]) + data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and hasattr(self, "cell"):
            del self.cell

    def table(self, name: str) -> list[dict[str, dict[str, str | None]]]:
        return [row for row in self.tables[f"table-{name}"] if row]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [own for name, own in self.elements if name == tag]


def run_folder(
    folder: Path,
    strategy: str = "finetune",
    seed: int = 0,
    classes: tuple[str, ...] = ("zero", "one", "two"),
    figures: dict[str, Any] | None = None,
    finished: bool = True,
    **config: Any,
) -> Path:
    """A run of three tasks with a class each; its figures depend on strategy and seed."""
    (folder / "samples").mkdir(parents=True)
    target = f"mergan.strategies.{strategy}.Strategy"
    settings = {"strategy": {"_target_": target}, "seed": seed, "learner": {"seed": seed}, **config}
    (folder / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")
    worst = 0.1 * (1 + len(strategy) % 5) + 0.01 * seed
    for metric in ("accuracy", "recall", "fid"):
        with (folder / f"{metric}_matrix.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["task", *classes])
            writer.writerows(
                [[task, *(0.9 if each == task else worst if each < task else "" for each in range(3))]
                 for task in range(3 if finished else 2)]
            )  # fmt: skip
    rows = ["d/loss,epoch,fid/pooled,recall/average,step", ",0,,0.9,20", ",1,40.5,0.5,40", ",2,30.25,0.3,60"]
    rows[1:1] = [f"{1 / step:.4f},0,,,{step}" for step in range(1, 12)]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    if finished:
        own = {"accuracy": 1 / 3 + worst, "recall": worst, "fid": 30.25, "train_seconds": 12.5 + seed}
        (folder / "metrics.json").write_text(json.dumps(own | (figures or {})))
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(folder / "samples" / "task_02.png")
    return folder


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two settings with two seeds each, and a report of them, which needs no torch."""
    folder = tmp_path_factory.mktemp("four")
    for number, (strategy, seed) in enumerate((s, n) for s in ("finetune", "joint_retrain") for n in (0, 1)):
        run_folder(folder / "deep" / "er" / f"{number}_{strategy}", strategy, seed)
    code = (
        "import sys; from mergan.report import main; "
        f"status = main([{str(folder)!r}, 'out={folder / 'report'}']); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, check=False).returncode == 0
    return folder


def test_the_numbers_of_the_page_are_those_of_metrics_json(four: Path) -> None:
    page = Page(four / "report" / "index.html")
    rows = page.table("runs")
    assert len(rows) == 4
    for row in rows:
        figures = json.loads((Path(str(row["run"]["text"])) / "metrics.json").read_text())
        shown = {key: float(str(cell["data-value"])) for key, cell in row.items() if "data-value" in cell}
        assert shown == figures
    for row in page.table("settings"):
        of = [each for each in rows if each["setting"]["text"] == row["setting"]["text"]]
        values = [float(str(each["recall"]["data-value"])) for each in of]
        cell = row["recall"]
        assert float(str(cell["data-value"])) == pytest.approx(np.mean(values), abs=1e-15)
        assert float(str(cell["data-std"])) == pytest.approx(np.std(values, ddof=1), abs=1e-15)
        assert cell["data-n"] == "2"
    with (four / "report" / "tables" / "settings.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["recall"] for line in lines] == [
        row["recall"]["data-value"] for row in page.table("settings")
    ]


def test_the_page_needs_nothing_beside_it(four: Path) -> None:
    page = Page(four / "report" / "index.html")
    assert all(str(own["src"]).startswith("data:image/") and own["alt"] for own in page.all("img"))
    assert all(
        str(own["href"]).startswith(("#", "figures/", "data:,")) for own in page.all("a") + page.all("link")
    )
    for own in page.all("a"):
        if str(own["href"]).startswith("figures/"):
            assert (four / "report" / str(own["href"])).is_file()
    assert "http" not in re.sub(r"data:[^\"]*|http-equiv", "", page.source)
    (policy,) = (own["content"] for own in page.all("meta") if "http-equiv" in own)
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in str(policy) and "default-src 'none'" in str(policy)
    assert [own["data-key"] for own in page.all("th") if own.get("scope") == "row"]  # tables name their rows


def test_the_same_runs_give_the_same_report(four: Path, tmp_path: Path) -> None:
    assert main([str(four), f"out={tmp_path}"]) == 0
    for path in (four / "report").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(four / "report")).read_bytes(), path.name


def test_a_value_over_all_classes_stands_at_its_task(four: Path) -> None:
    """FID was not measured after the first task."""
    source = (four / "report" / "index.html").read_text(encoding="utf-8")
    assert "FID after each task, over all classes seen" in source and "finetune: 30.2" in source
    log = logs.read_log(four / "deep" / "er" / "0_finetune")
    assert log.pooled == {"fid": {2: 40.5, 3: 30.25}} and len(log.curves["d/loss"]) == 11


def test_settings_are_what_differs_apart_from_the_seed(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"seed": 0}, {"seed": 1}, {"seed": 0, "lr": 0.1, "learner": {"lr": 0.1}},
        {"seed": 0, "cache_dir": "elsewhere", "trainer": {"accelerator": "gpu"}},
    ]  # fmt: skip
    for number, change in enumerate(changes):
        run_folder(tmp_path / str(number), **change)
    plain, other = groups.grouped(runs.collect([tmp_path]).finished)
    assert (plain.name, other.name) == ("lr=-", "lr=0.1")
    assert [run.folder.name for run in plain.runs] == ["0", "1"]
    assert [run.folder.name for run in plain.repeats] == ["3"]
    assert set(other.values) == {"lr", "learner.lr"} or "lr" in other.values


def test_differences_are_paired_over_common_seeds(tmp_path: Path) -> None:
    values = {"a": [0.1, 0.5, 0.9, 0.3], "b": [0.2, 0.7, 1.0]}
    for strategy, figures in values.items():
        for seed, recall in enumerate(figures):
            run_folder(tmp_path / f"{strategy}{seed}", strategy, seed, figures={"recall": recall})
    one, other = groups.grouped(runs.collect([tmp_path]).finished)
    found = statistics.difference(one, other, "recall")
    assert found is not None and found.count == 3
    assert found.mean == pytest.approx(0.4 / 3)
    assert found.low is not None and 0.09 < found.low < found.mean < found.high < 0.21  # type: ignore[operator]
    assert statistics.difference(one, other, "absent") is None
    assert statistics.forgotten(one.runs[1], "accuracy") == pytest.approx({"zero": 0.69, "one": 0.69})
    assert statistics.forgotten(one.runs[0], "fid") == pytest.approx(
        {"zero": 0, "one": -0.7}
    )  # lower is better


def test_runs_of_all_kinds_stand_in_one_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = run_folder(tmp_path / "sweep" / "0_finetune")
    (whole / "fid_matrix.csv").unlink()  # lacks a metric
    (whole / "recall_matrix.csv").write_text(
        "task,zero,one\n0,,\n1,0.5,\n2,0.4,0.3\n"
    )  # at first too few images
    run_folder(tmp_path / "sweep" / "1_joint", "joint", classes=("cat", "dog", "zero"))
    run_folder(tmp_path / "sweep" / "2_ewc", "ewc", finished=False)
    run_folder(tmp_path / "sweep" / "3_mas", "mas", finished=False)
    (run_folder(tmp_path / "sweep" / "4_broken", "mas") / "config.yaml").write_text("a: [")
    sweep = SweepFolder(tmp_path / "sweep")
    sweep.write(Job(3, ("strategy=mas",), Status.failed, "3_mas", "d/loss is not finite", 3))
    sweep.write(Job(5, ("strategy=joint", "lr=-1"), Status.failed, "", "lr=-1: use more than 0", 2))
    named = [str(tmp_path), str(tmp_path / "sweep" / "2_ewc")]
    assert main([*named, f"out={tmp_path / 'report'}"]) == 0
    page = Page(tmp_path / "report" / "index.html")
    missing = {str(row["run"]["text"]): row for row in page.table("missing")}
    states = {key.rpartition("/")[2]: str(row["state"]["text"]) for key, row in missing.items()}
    assert states["2_ewc"] == "unfinished" and states["3_mas"] == "failed"
    assert states["4_broken"] == "cannot be read" and len(missing) == 4
    reasons = " ".join(str(row["reason"]["text"]) for row in missing.values())
    assert "d/loss is not finite; measured after 2 tasks" in reasons and "use more than 0" in reasons
    assert "different classes" in page.text and len(page.table("runs")) == 2
    assert capsys.readouterr().out.count("left out: ") == 4


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "_")
    for number in range(2):
        folder = run_folder(
            tmp_path / f"{number}{name}", seed=number, classes=(HOSTILE, "日本\u202e", "$a_1$"),
            figures={"evaluation_features": HOSTILE}, objective={"x": HOSTILE if number else 1},
        )  # fmt: skip
        (folder / "recall_matrix.csv").rename(folder / f"{name[:60]}_matrix.csv")
    assert main([str(tmp_path), f"out={tmp_path / 'report'}"]) == 0
    page = Page(tmp_path / "report" / "index.html")
    assert len(page.all("script")) == 1 and all("onerror" not in own for own in page.all("img"))
    assert HOSTILE in page.text and name in page.text and "49" not in page.text.split("{{7")[1][:9]
    assert "\u202e" not in page.source and "日本" in page.text
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in (tmp_path / "report").rglob("*"))
    text = (tmp_path / "report" / "tables" / "runs.tex").read_text(encoding="utf-8")
    assert r"\$x\textasciicircum{}2\$" in text and r"\textbackslash{}b\textbar{}c" in text


def test_of_many_settings_as_many_are_drawn_as_can_be_read(tmp_path: Path) -> None:
    for number in range(16):
        run_folder(tmp_path / f"run{number}", seed=number % 2, lr=number // 2 * 2)
    settings = groups.grouped(runs.collect([tmp_path]).finished)
    assert len(settings) == 8 and len(statistics.pairs(settings)) == 7
    chosen = grids.chosen(settings)
    assert len(chosen) == 12 and {setting.name for setting, _ in chosen} == {each.name for each in settings}


def test_values_far_apart_have_a_logarithmic_axis() -> None:
    def ticks(*values: float) -> list[str]:
        lines = [charts.Line(str(value), 0, [1, 2], [value, value], [None, None]) for value in values]
        drawn = charts.line_chart(lines, "after task", "FID").decode()
        return re.findall(r"<!-- ([\d.]+) -->", drawn[drawn.index("matplotlib.axis_2") :])

    assert {"50", "100", "200", "500"} <= set(ticks(20.0, 900.0))
    assert "50" not in ticks(-20.0, 900.0)  # KID may be negative
    assert {"20", "40", "60"} <= set(ticks(20.0, 100.0))
