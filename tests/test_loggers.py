"""What becomes of tables and event files when a run ends early, goes on, or cannot write."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import warm
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mergan.output.loggers import CSVLog, EventLog
from mergan.run import build, experiment
from mergan.system.errors import StorageError


@pytest.mark.parametrize(
    ("error", "closed"), [(KeyboardInterrupt(), False), (ValueError(), True), (None, True)]
)
def test_an_interruption_does_not_wait_for_the_event_writer(
    tmp_path: Path, error: BaseException | None, closed: bool
) -> None:
    logger = EventLog(tmp_path)
    logger.log_metrics({"kept": 1.0}, step=3)
    logger.save()
    worker = logger.experiment.file_writer.event_writer._async_writer._worker
    try:
        if error is not None:
            raise error
        logger.finalize("success")
    except BaseException:
        logger.finalize("failed")
    assert worker.is_alive() != closed
    assert tiny.event_steps(tmp_path)["kept"] == [3]


# ---------------------------------------------------------------- tables

WHOLE = ["epoch,g/loss,step\r\n", "0,0.5,1\r\n", "0,0.25,2\r\n", ",0.125,3\r\n"]
MALFORMED = [
    b"0,0.5\r\n", b"0,0.5,2,7,8\r\n", b"0,0.5,two\r\n", b"x,0.5,2\r\n", b"1.5,0.5,2\r\n", b"0,0.5,\r\n",

    b"\r\n", b"0,0.5,-2\r\n", b"0,\x00\x00,2\r\n", b"0,\xff\xfe,2\r\n", b'0,"0.5,2\r\n', b'0,0.5"x",2"\r\n',
    b"0,0.5," + b"9" * 5000 + b"\r\n", b"0," + b"x" * 200_000 + b",2\r\n", b"epoch,g/loss,step\r\n",
    b"epoch,d/loss,g/loss,step\r\n", b"0,1,0.5,2\r\n", b"\x00" * 4096 + b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(MALFORMED)))
def test_malformed_rows_are_dropped_and_the_others_stay(tmp_path: Path, index: int) -> None:
    lines = [line.encode() for line in WHOLE]
    (tmp_path / "metrics.csv").write_bytes(b"".join([*lines[:2], MALFORMED[index], *lines[2:]]))
    log = CSVLog(tmp_path, resume_step=3)
    log.log_metrics({"g/loss": 1.0, "d/loss": 2.0}, step=4)
    log.save()
    expected = [("1", "0.5"), ("2", "0.25"), ("3", "0.125"), ("4", "1.0")]
    assert [(row["step"], row["g/loss"]) for row in tiny.csv_rows(tmp_path)] == expected


@pytest.mark.parametrize(
    "header",
    [b"", b"\r\n", b"epoch,g/lo", b"epoch,g/loss,ste\r\n", b"epoch,step,step\r\n", b"\x00\x00\r\n",
     b"\xff\r\n",     b'epoch,"g/loss,step\r\n', b"0,0.5,1\r\n"],
)  # fmt: skip
def test_a_table_without_a_whole_header_begins_anew(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(header + b"0,0.25,2\r\n0,0.25,3\r\n")
    log = CSVLog(tmp_path, resume_step=3)
    log.log_metrics({"g/loss": 1.0}, step=4)
    log.save()
    assert tiny.csv_rows(tmp_path) == [{"g/loss": "1.0", "step": "4"}]


def test_text_in_a_cell_stays(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text('"a,b",step\n"x, ""y""",1\n')
    log = CSVLog(tmp_path, resume_step=1)
    log.log_metrics({"c": 0.5}, step=2)
    log.save()
    assert tiny.csv_rows(tmp_path) == [{"a,b": 'x, "y"', "step": "1"}, {"c": "0.5", "step": "2"}]


def header_of(folder: Path) -> list[str]:
    return (folder / "metrics.csv").read_text().splitlines()[0].split(",")


def test_epoch_and_step_come_first_and_single_classes_are_left_out(tmp_path: Path) -> None:
    log = CSVLog(tmp_path)
    log.log_metrics({"g/loss": 0.5, "d/loss": 0.25, "lr/g": 1e-3, "epoch": 0}, step=1)
    figures = {
        "recall/average": 0.5,
        "recall/class_a/b": 0.5,
        "accuracy/average": 1.0,
        "accuracy/task_00": 1.0,
    }
    log.log_metrics(
        {**figures, "g/class_confusion": 0.125, "epoch": 0}, step=2
    )  # the last one is a learner's
    log.save()
    log.log_final({}, {"final/accuracy": 1.0}, step=2)
    log.save()
    losses, last = ["g/loss", "d/loss", "lr/g"], ["recall/average", "accuracy/average", "g/class_confusion"]
    assert header_of(tmp_path) == ["epoch", "step", *losses, *last]
    assert [row["step"] for row in tiny.csv_rows(tmp_path)] == ["1", "2"]


def test_a_table_of_an_older_version_goes_on_in_the_new_order(tmp_path: Path) -> None:
    older = [
        "accuracy/class_0,epoch,final/accuracy,g/loss,step",
        ",0,,0.5,1",
        "0.25,0,,,2",
        ",,0.25,,2",
        ",1,,1,3",
    ]
    (tmp_path / "metrics.csv").write_text("".join(f"{line}\r\n" for line in older))
    log = CSVLog(tmp_path, resume_step=2)
    log.log_metrics({"accuracy/average": 0.5, "accuracy/class_0": 0.5, "g/loss": 0.75, "epoch": 1}, step=3)
    log.save()
    own = ["accuracy/class_0", "final/accuracy", "g/loss"]
    assert header_of(tmp_path) == ["epoch", "step", *own, "accuracy/average"]
    assert tiny.csv_rows(tmp_path) == [
        {"epoch": "0", "step": "1", "g/loss": "0.5"},
        {"epoch": "0", "step": "2", "accuracy/class_0": "0.25"},
        {"epoch": "1", "step": "3", "g/loss": "0.75", "accuracy/average": "0.5"},
    ]


# ---------------------------------------------------------------- no room

FULL = """
import pathlib, resource, signal, sys, threading
from mergan.output.loggers import {kind}
folder = pathlib.Path({folder!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
threading.excepthook = lambda arguments: None
def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
def sizes():
    return {{path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}}
log = {kind}(folder)
log.log_metrics({{"a": 0.5}}, step=1)
log.save()
room({room})
try:
    for step in range(2, 500):
        log.log_metrics({{"a": 0.5, f"b{{step // 100}}": 1.0}}, step=step)
        if step % 50 == 0:
            log.save()
    sys.exit("there was room")
except OSError:
    pass
before = sizes()
room(resource.RLIM_INFINITY)
late = {{"a": 0.5, "z": 1.0}}
for end in (lambda: log.log_metrics(late, step=501), log.save, lambda: log.finalize("failed")):
    try:
        end()
    except OSError:
        pass
assert sizes() == before, (before, sizes())
"""


@pytest.mark.parametrize("room", [700, 1400, 2100, 5000])
@pytest.mark.parametrize("kind", ["CSVLog", "EventLog"])
def test_after_a_failed_write_nothing_is_appended_and_the_next_start_goes_on(
    tmp_path: Path, kind: str, room: int
) -> None:
    run, script = tmp_path / "run", tmp_path / "script.py"
    run.mkdir()
    script.write_text(FULL.format(kind=kind, folder=str(run), room=room))
    ended = warm.run([str(script)], tmp_path)
    assert ended.returncode == 0, ended.stderr
    if kind == "EventLog":
        time.sleep(1.1)  # TensorBoard takes files in the order of their seconds, then of their processes
    log = {"CSVLog": CSVLog, "EventLog": EventLog}[kind](run, resume_step=1)
    log.log_metrics({"a": 0.25}, step=2)
    log.save()
    if kind == "CSVLog":
        assert tiny.csv_rows(run) == [{"a": "0.5", "step": "1"}, {"a": "0.25", "step": "2"}]
    else:
        assert tiny.event_steps(run)["a"] == [1, 2]


# ---------------------------------------------------------------- what lies in their place


@pytest.mark.parametrize("kind", ["a link", "a folder", "a FIFO"])
def test_a_table_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "metrics.csv", tmp_path / "other"
    other.write_text("step\n1\n")
    {"a link": lambda: path.symlink_to(other), "a folder": path.mkdir, "a FIFO": lambda: os.mkfifo(path)}[
        kind
    ]()
    with pytest.raises(StorageError, match=rf"metrics\.csv: is {kind}"):
        CSVLog(tmp_path)
    assert other.read_text() == "step\n1\n"


def test_event_files_and_their_folder_must_be_what_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("")
    with pytest.raises(StorageError, match=r"tensorboard: is a file"):
        EventLog(tmp_path)
    (tmp_path / "tensorboard").unlink()
    (tmp_path / "tensorboard").symlink_to("nowhere")
    with pytest.raises(StorageError, match=r"tensorboard: is a link"):
        EventLog(tmp_path)
    (tmp_path / "tensorboard").unlink()
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events.out.tfevents.1.a.2.3.final").symlink_to(tmp_path)
    with pytest.raises(StorageError, match=r"final: is a link"):
        EventLog(tmp_path)


def test_a_folder_is_taken_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
    log = EventLog(tmp_path / "$ELSEWHERE")
    log.log_metrics({"a": 0.5}, step=1)
    log.save()
    assert [path.name for path in tmp_path.iterdir()] == ["$ELSEWHERE"]


# ---------------------------------------------------------------- final figures


def finals(folder: Path, group: str = "summary") -> dict[str, list[int]]:
    return {tag: steps for tag, steps in tiny.event_steps(folder).items() if tag.startswith(f"{group}/")}


def assert_final_once(folder: Path, step: int) -> None:
    figures = json.loads((folder / "metrics.json").read_text())
    wanted = {f"summary/{key}" for key, value in figures.items() if not isinstance(value, str)}
    assert finals(folder) == {tag: [step] for tag in wanted}
    assert not any(name.startswith("final/") for name in header_of(folder))  # metrics.json holds them
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert "_hparams_/experiment" in events.summary_metadata  # the page HPARAMS shows the run
    assert events.Scalars("summary/accuracy")[0].value == pytest.approx(figures["accuracy"])


def test_final_figures_stand_once_at_the_last_step(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    settings = ["strategy=finetune", "epochs=1", tiny.EVENTS]
    experiment.run(compose(*settings, "scenario.tasks=[[0]]"), tmp_path)
    assert_final_once(tmp_path, 2)
    last = f"ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}"
    # killed just before metrics.json: all else has been written
    (tmp_path / "metrics.json").unlink()
    experiment.run(compose(*settings, "scenario.tasks=[[0]]", last), tmp_path)
    assert_final_once(tmp_path, 2)
    # a finished run that is made longer, and stopped before its end
    longer = [*settings, "scenario.tasks=[[0],[1]]", last]
    stop = ["+callbacks.stop._target_=tiny.StopAt", "+callbacks.stop.epoch=1"]
    with pytest.raises(KeyboardInterrupt):
        experiment.run(compose(*longer, *stop), tmp_path)
    assert finals(tmp_path) == {}
    experiment.run(compose(*longer), tmp_path)
    assert_final_once(tmp_path, 4)
    assert tiny.event_steps(tmp_path)["g/loss"] == [1, 2, 3, 4]


def test_other_loggers_are_built_and_told_the_final_figures_too(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    theirs = "lightning.pytorch.loggers"
    own = [
        f"+logger.theirs._target_={theirs}.CSVLogger", f"+logger.theirs.save_dir={tmp_path}/theirs",
        f"+logger.board._target_={theirs}.TensorBoardLogger", f"+logger.board.save_dir={tmp_path}/board",
        "+logger.board.version=''", "+logger.board.name=tensorboard",
    ]  # fmt: skip
    experiment.run(compose("strategy=finetune", "scenario.tasks=[[0]]", "epochs=1", *own), tmp_path / "run")
    assert set(finals(tmp_path / "board", "final")["final/accuracy"]) == {2}
    (table,) = (tmp_path / "theirs").rglob("metrics.csv")
    assert "final/accuracy" in table.read_text()


def test_a_logger_gets_the_folder_where_it_asks_for_it(tmp_path: Path) -> None:
    def made(**node: object) -> object:
        return build.offer(node, "logger.own", {"folder": tmp_path, "resume_step": 7, "links": {}})

    log = made(_target_="mergan.output.loggers.CSVLog")
    assert isinstance(log, CSVLog) and (log.save_dir, log._resume_step) == (str(tmp_path), 7)
    log = made(_target_="mergan.output.loggers.CSVLog", folder=str(tmp_path / "own"))
    assert isinstance(log, CSVLog) and log.save_dir == str(tmp_path / "own")
    log = made(_target_="mergan.output.loggers.EventLog", _partial_=True)
    assert isinstance(log, EventLog) and log.save_dir == str(tmp_path)
