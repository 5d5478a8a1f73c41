"""The table of results: what is trained, what is left alone, what goes on, what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import tiny

from mergan import config
from mergan.cli import settings
from mergan.reproduce import main
from mergan.run import reproduction
from mergan.run.reproduction import Plan, Training
from mergan.system.errors import ConfigError, TrainingError

ROWS = {
    "joint": {"experiment": "paper_mnist_joint", "seeds": [0, 1], "paper": 96.92},
    "finetune": {"experiment": "paper_mnist_finetune", "seeds": [0]},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Plan:
    """Both rows, in seconds."""
    out = str(tmp_path_factory.mktemp("reproduce") / "out")
    own = config.ReproduceConfig(out=out, jobs=None, only=None, rows=ROWS)
    return reproduction.plan(own, ["debug=smoke", "logger.tensorboard=null", f"cache_dir={cache_dir}"])


@pytest.fixture(scope="module")
def trained(plan: Plan) -> list[Training]:
    reproduction.reproduce(plan)
    return reproduction.trainings(plan)


def cells(plan: Plan) -> dict[str, dict[str, str]]:
    """table.md as {row: {heading: cell}}."""
    lines = [line.strip("| ").split(" | ") for line in (plan.out / "table.md").read_text().splitlines()]
    return {line[0]: dict(zip(lines[0][1:], line[1:], strict=True)) for line in lines[2:]}


def test_the_table_has_a_row_per_strategy_with_mean_and_deviation_over_its_seeds(
    plan: Plan, trained: list[Training]
) -> None:
    assert [training.folder.name for training in trained] == ["joint_seed0", "finetune_seed0", "joint_seed1"]
    table = cells(plan)
    assert list(table) == ["joint", "finetune"]
    first, second = (
        json.loads((plan.out / f"joint_seed{seed}" / "metrics.json").read_text())["reverse_accuracy"] * 100
        for seed in (0, 1)
    )
    mean, deviation = (float(part) for part in table["joint"]["reverse accuracy %"].split(" ± "))
    assert mean == pytest.approx((first + second) / 2, abs=0.06)
    assert deviation == pytest.approx(abs(first - second) / 2**0.5, abs=0.06)
    assert table["joint"]["paper: accuracy %"] == "96.92"
    assert table["finetune"]["paper: accuracy %"] == "-"
    assert "±" not in table["finetune"]["accuracy %"]
    assert (plan.out / "samples.png").is_file()


def test_finished_rows_are_left_alone_and_an_interrupted_one_goes_on(
    plan: Plan, trained: list[Training]
) -> None:
    kept, interrupted = trained[0], trained[1]
    before = (kept.folder / "metrics.json").stat().st_mtime_ns
    matrix = (interrupted.folder / "accuracy_matrix.csv").read_text()
    first_task = (interrupted.folder / "samples" / "task_00.png").stat().st_mtime_ns
    (interrupted.folder / "metrics.json").unlink()
    shutil.copy(
        interrupted.folder / "checkpoints" / "task_00.ckpt", interrupted.folder / "checkpoints" / "last.ckpt"
    )

    reproduction.reproduce(plan)

    assert (kept.folder / "metrics.json").stat().st_mtime_ns == before
    assert interrupted.finished
    assert (interrupted.folder / "accuracy_matrix.csv").read_text() == matrix
    assert (interrupted.folder / "samples" / "task_00.png").stat().st_mtime_ns == first_task


def test_runs_of_other_settings_are_not_passed_off_as_these(plan: Plan, trained: list[Training]) -> None:
    other = Plan(plan.rows, plan.out, plan.jobs, [*plan.overrides, "lr=0.5"])
    with pytest.raises(ConfigError, match="joint_seed0: was trained with another lr"):
        reproduction.reproduce(other)


def test_a_failed_training_is_named_and_the_table_written_all_the_same(plan: Plan, tmp_path: Path) -> None:
    failing = Plan(
        {"finetune": plan.rows["finetune"]},
        tmp_path,
        1,
        [*plan.overrides, "init_from=" + str(tiny.ROOT / "README.md")],
    )
    with pytest.raises(TrainingError, match="finetune_seed0: failed"):
        reproduction.reproduce(failing)
    assert cells(failing)["finetune"]["accuracy %"] == "-"
    assert "README.md" in (tmp_path / "finetune_seed0.log").read_text()


@pytest.mark.parametrize("name", ["metrics.json", "config.yaml", "samples/task_100.png"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", None])
def test_a_run_folder_that_cannot_be_read_is_named_before_anything_is_trained(
    name: str,
    content: bytes | None,
    plan: Plan,
    trained: list[Training],
    tmp_path: Path,
) -> None:
    broken = Plan(plan.rows, tmp_path / "out", plan.jobs, plan.overrides)
    first = tmp_path / "out" / trained[0].folder.name
    shutil.copytree(trained[0].folder, first)
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
    assert os.listdir(tmp_path / "out") == [first.name]


def test_results_are_not_written_into_a_run(plan: Plan, trained: list[Training]) -> None:
    for place in (trained[0].folder, trained[0].folder / "metrics.json"):
        with pytest.raises(ConfigError, match="out="):
            reproduction.reproduce(Plan(plan.rows, place, plan.jobs, plan.overrides))


@pytest.mark.parametrize(
    "arguments",
    [["only=joint,nothing"], ["jobs=0"], ["jobs=two"], ["jobs="], ["jobs=" + "9" * 5000], ["--x"], ["-m"],
     ["foo"], ["jobs"], ["jobs=1", "jobs=2"], ["only=\x1b[31m"]],
)  # fmt: skip
def test_bad_arguments_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {arguments[0].split('=')[0]}") and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_every_row_of_the_results_names_a_recipe() -> None:
    own, others = settings.read(config.ReproduceConfig, config.CONF / "reproduce.yaml", [])
    plan = reproduction.plan(own, others)
    assert len(plan.rows) == 9 and plan.jobs == os.cpu_count() and plan.out == Path("runs/reproduce")
    for row in plan.rows.values():
        assert (config.CONF / "experiment" / f"{row.experiment}.yaml").is_file(), row.experiment
