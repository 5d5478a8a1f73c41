"""The tables of the documentation: what is trained, what is left alone, what goes on, what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import yaml
from PIL import Image

from mergan import config
from mergan.cli import settings
from mergan.output.reading import check_picture
from mergan.reproduce import main
from mergan.reproducing import figures, reproduction, table
from mergan.reproducing.curve import CurveTable
from mergan.reproducing.jobs import Job
from mergan.reproducing.reproduction import Plan
from mergan.reproducing.searched import SearchedTable
from mergan.reproducing.trained import TrainedTable
from mergan.system.errors import ConfigError, TrainingError

FIGURES = ["accuracy", "reverse_accuracy", "images_seen_d", "peak_memory_bytes"]


def small(**changed: object) -> TrainedTable:
    """Three trainings of two strategies, in seconds."""
    arguments: dict[str, object] = {
        "rows": {"joint": ["strategy=joint"], "finetune": ["strategy=finetune"]},
        "repeats": [["seed=0"], ["seed=1", "scenario.class_order=shuffled", "scenario.order_seed=1"]],
        "counts": {"joint": 2},
        "figures": FIGURES,
        "summary": ["accuracy"],
        "real": "joint",
        "compare": "joint",
    }
    return TrainedTable(**{**arguments, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Plan:
    """The small table."""
    out = tmp_path_factory.mktemp("reproduce") / "out"
    overrides = ["debug=smoke", "logger.tensorboard=null", f"cache_dir={cache_dir}"]
    return Plan({"small": small()}, ["joint", "finetune"], out, 2, out.parent / "results", overrides)


@pytest.fixture(scope="module")
def made(plan: Plan) -> list[Job]:
    """Its trainings, done."""
    reproduction.reproduce(plan)
    return reproduction.stages(plan)[0]


def cells(text: str) -> dict[str, dict[str, str]]:
    """A Markdown table as {row: {heading: cell}}."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {line[0]: dict(zip(lines[0][1:], line[1:], strict=True)) for line in lines[2:]}


def figure(plan: Plan, row: str, key: str) -> float:
    content = json.loads((plan.out / "small" / row / "metrics.json").read_text())
    assert isinstance(content[key], float)
    return content[key]


def test_a_row_has_the_mean_and_the_deviation_over_its_runs(plan: Plan, made: list[Job]) -> None:
    assert [job.folder.name for job in made] == ["joint_0", "finetune_0", "joint_1"]
    found = cells((plan.out / "small" / "table.md").read_text())
    assert list(found) == ["`joint`", "`finetune`", "real training images"]
    first, second = (100 * figure(plan, f"joint_{repeat}", "reverse_accuracy") for repeat in (0, 1))
    mean, deviation = (float(part) for part in found["`joint`"]["reverse accuracy %"].split(" ± "))
    assert mean == pytest.approx((first + second) / 2, abs=0.06)
    assert deviation == pytest.approx(abs(first - second) / 2**0.5, abs=0.06)
    assert "±" not in found["`finetune`"]["accuracy %"]
    assert 0.1 < float(found["`finetune`"]["peak memory, GB"]) < 20
    assert [line["runs"] for line in found.values()] == ["2", "1", "1"]
    check_picture(plan.out / "small" / "samples.png")


def test_real_images_are_measured_as_the_runs_were(plan: Plan, made: list[Job]) -> None:
    keys = ("evaluation_samples_per_class", "evaluation_references_per_class", "evaluation_split")
    real = json.loads((plan.out / "small" / "real.json").read_text())
    run = json.loads((plan.out / "small" / "joint_0" / "metrics.json").read_text())
    assert {key: real[key] for key in keys} == {key: run[key] for key in keys}
    assert real["evaluation_images"] == "real"


def test_differences_are_taken_run_by_run(plan: Plan, made: list[Job]) -> None:
    found = cells((plan.out / "small" / "differences.md").read_text())
    assert list(found) == ["`joint` - `finetune`"]
    cell = found["`joint` - `finetune`"]
    gap = 100 * (figure(plan, "joint_0", "accuracy") - figure(plan, "finetune_0", "accuracy"))
    assert float(cell["accuracy %"]) == pytest.approx(gap, abs=0.06) and cell["pairs"] == "1"
    assert "images seen by D, thousands" not in cell  # a cost


def test_orders_of_classes_are_part_of_a_repeat(plan: Plan, made: list[Job]) -> None:
    orders = [
        yaml.safe_load((job.folder / "config.yaml").read_text())["scenario"]["class_order"] for job in made
    ]
    assert orders == ["fixed", "fixed", "shuffled"]


def test_what_the_table_is_made_of_is_published_without_places(plan: Plan, made: list[Job]) -> None:
    assert plan.publish is not None
    folder = plan.publish / "small"
    assert {path.name for path in folder.iterdir()} == {"joint_0", "joint_1", "finetune_0", "real.json"}
    texts = plan.tables["small"].texts(folder)
    for name, text in texts.items():
        assert (plan.out / "small" / f"{name}.md").read_text() == text + "\n"
    names = {path.name for path in (folder / "joint_0").iterdir()}
    assert {"config.yaml", "metrics.json", "provenance.json", "recall_matrix.csv", "samples"} <= names
    assert not names & {"checkpoints", "metrics.csv", "tensorboard"}
    assert not (folder / "joint_1" / "samples").exists()  # one grid of a row is enough
    published = yaml.safe_load((folder / "joint_0" / "config.yaml").read_text())
    own = yaml.safe_load((plan.out / "small" / "joint_0" / "config.yaml").read_text())
    assert set(config.differences(own, published)) == {"cache_dir", "data.root"}
    assert (published["cache_dir"], published["data"]["root"]) == ("cache", "data")


def test_finished_rows_are_left_alone_and_an_interrupted_one_goes_on(plan: Plan, made: list[Job]) -> None:
    kept, interrupted = made[0].folder, made[1].folder
    before = (kept / "metrics.json").stat().st_mtime_ns
    whole = json.loads((interrupted / "metrics.json").read_text())
    first_task = (interrupted / "samples" / "task_00.png").stat().st_mtime_ns
    (interrupted / "metrics.json").unlink()
    shutil.copy(interrupted / "checkpoints" / "task_00.ckpt", interrupted / "checkpoints" / "last.ckpt")

    reproduction.reproduce(plan)

    assert (kept / "metrics.json").stat().st_mtime_ns == before
    again = json.loads((interrupted / "metrics.json").read_text())
    timings = {"train_seconds", "evaluation_seconds", "images_per_second"}
    assert {key: again[key] for key in again if key not in timings} == {
        key: whole[key] for key in whole if key not in timings
    }
    assert (interrupted / "samples" / "task_00.png").stat().st_mtime_ns == first_task
    sessions = json.loads((interrupted / "provenance.json").read_text())["sessions"]
    assert [session["first_step"] for session in sessions] == [0, 2]


def test_runs_of_other_settings_are_not_passed_off_as_these(plan: Plan, made: list[Job]) -> None:
    with pytest.raises(ConfigError, match="joint_0: was trained with another lr"):
        reproduction.reproduce(replace(plan, overrides=[*plan.overrides, "lr=0.5"]))


def test_a_failed_training_is_named_and_the_table_written_all_the_same(plan: Plan, tmp_path: Path) -> None:
    broken = [*plan.overrides, "init_from=" + str(tiny.ROOT / "README.md")]
    failing = replace(plan, rows=["finetune"], out=tmp_path, publish=None, overrides=broken)
    with pytest.raises(TrainingError, match="finetune_0: failed"):
        reproduction.reproduce(failing)
    text = (tmp_path / "small" / "table.md").read_text()
    assert text.startswith("| strategy |") and not cells(text)  # rows that have run would stand there
    assert "README.md" in (tmp_path / "small" / "finetune_0.log").read_text()


@pytest.mark.parametrize("name", ["metrics.json", "config.yaml", "samples/task_100.png"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", None])
def test_a_run_folder_that_cannot_be_read_is_named_before_anything_is_trained(
    name: str, content: bytes | None, plan: Plan, made: list[Job], tmp_path: Path
) -> None:
    broken = replace(plan, out=tmp_path / "out", publish=None)
    first = tmp_path / "out" / "small" / made[0].folder.name
    shutil.copytree(made[0].folder, first)
    (first / name).unlink(missing_ok=True)
    if content is not None:
        (first / name).write_bytes(content)
    else:
        os.mkfifo(first / name)
    if content is None and name == "metrics.json":
        return  # counts as unfinished; train.py has the word
    with pytest.raises(ConfigError, match=name.rsplit(".")[0]) as error:
        reproduction.reproduce(broken)
    assert str(first / name) in str(error.value) and "\n" not in str(error.value)
    assert os.listdir(tmp_path / "out" / "small") == [first.name]


def test_a_finished_run_without_its_settings_is_named(plan: Plan, made: list[Job], tmp_path: Path) -> None:
    folder = tmp_path / "out" / "small" / made[0].folder.name
    shutil.copytree(made[0].folder, folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"config\.yaml") as error:
        reproduction.reproduce(replace(plan, out=tmp_path / "out", publish=None))
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_results_are_not_written_into_a_run(plan: Plan, made: list[Job]) -> None:
    for place in (made[0].folder, made[0].folder / "metrics.json"):
        with pytest.raises(ConfigError, match="out="):
            reproduction.reproduce(replace(plan, out=place, publish=None))


def test_a_curve_shows_what_is_kept(plan: Plan, made: list[Job], tmp_path: Path) -> None:
    folder = tmp_path / "small"
    shutil.copytree(plan.out / "small", folder)
    for repeat, kept in (("joint_0", 1e6), ("joint_1", 1e6), ("finetune_0", 2e5)):
        path = folder / repeat / "metrics.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "bytes_kept": kept}))
    own = small()
    curve = CurveTable(
        lines={"both": ["joint", "finetune"]}, charts=["accuracy", "reverse_accuracy"], rows=own.rows,
        repeats=own.repeats, counts=own.counts, figures=FIGURES, summary=None, real=None, compare=None,
    )  # fmt: skip
    curve.write(folder)
    with Image.open(folder / "curve.png") as picture:
        assert picture.width > 1.5 * picture.height  # two charts side by side
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 10


def test_a_search_is_told_by_its_best_trial(tmp_path: Path) -> None:
    search = SearchedTable(
        {"ewc": ["strategy=ewc", "strategy.weight=choice(1,2)"], "mas": ["strategy=mas", "lr=choice(1,2)"]},
        ["data=mnist_5k"], "reverse_accuracy", ["reverse_accuracy", "recall"],
    )  # fmt: skip
    (job,) = search.stages(tmp_path, ["ewc"], ["lr=1"])[0]
    assert job.words[:2] == ("strategy=ewc", "strategy.weight=choice(1,2)") and not job.finished
    assert {"data=mnist_5k", "search.metric=reverse_accuracy", "lr=1"} < set(job.words)
    (tmp_path / "ewc").mkdir()
    trials = tmp_path / "ewc" / "trials.csv"
    trials.write_text(
        "number,state,strategy.weight,reverse_accuracy,recall\n"
        "0,finished,1,0.5,0.1\n1,failed,2,,\n2,finished,2,0.7,\n"
    )
    assert cells(search.texts(tmp_path)["table"]) == {
        "`ewc`": {"chosen": "`strategy.weight=2`", "reverse_accuracy": "0.700", "recall": "-", "trials": "2"}
    }
    search.publish(tmp_path, tmp_path / "results")
    assert (tmp_path / "results" / "ewc" / "trials.csv").read_text() == trials.read_text()
    trials.write_text("number,state\n0,finished\n")
    with pytest.raises(ConfigError, match=r"trials\.csv: cannot be read"):
        search.texts(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [["only=joint,nothing"], ["jobs=0"], ["jobs=two"], ["jobs="], ["jobs=" + "9" * 5000], ["--x"], ["-m"],
     ["foo"], ["jobs"], ["jobs=1", "jobs=2"], ["only=\x1b[31m"], ["table=nothing"], ["table="],
     ["table=../train"]],
)  # fmt: skip
def test_bad_arguments_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {arguments[0].split('=')[0]}") and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", table.names())
def test_every_row_of_every_table_can_be_made(name: str, tmp_path: Path) -> None:
    found = table.load(name)
    if isinstance(found, TrainedTable):
        assert set(found.figures) | set(found.summary or []) <= figures.SHOWN.keys()
        assert {*found.counts, *filter(None, (found.real, found.compare))} <= found.rows.keys()
        assert max(found.counts.values(), default=1) <= len(found.repeats)
        found.counts = {}  # the later repeats of a row differ in seed and order alone
    jobs = [job for stage in found.stages(tmp_path, list(found.rows), []) for job in stage]
    assert len(jobs) >= len(found.rows) and len({job.folder for job in jobs}) == len(jobs)
    if isinstance(found, CurveTable):
        joined: Sequence[str] = [row for rows in found.lines.values() for row in rows]
        assert set(joined) <= found.rows.keys() and set(found.charts) <= set(found.figures)


def test_the_command_makes_all_tables_unless_some_are_named() -> None:
    own, others = settings.read(config.ReproduceConfig, config.CONF / "reproduce.yaml", [])
    plan = reproduction.plan(own, others)
    assert list(plan.tables) == table.names() and plan.jobs == os.cpu_count()
    assert plan.out == Path("runs/reproduce") and plan.publish is None
