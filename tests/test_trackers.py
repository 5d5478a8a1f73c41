"""MLflow on its SQLite store and W&B offline: what a run leaves there, and what it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import warm
from omegaconf import DictConfig

from mergan.checkpoints import trust
from mergan.config import CONF
from mergan.output.folder import RunFolder
from mergan.output.handing import TakesFinalFigures, TakesPictures
from mergan.output.loggers import EventLog
from mergan.output.trackers.mlflow import MLflowTracker
from mergan.output.trackers.mlflow_store import name_of
from mergan.output.trackers.settings import flattened
from mergan.run import experiment
from mergan.system.errors import CheckpointError, ConfigError, StorageError

STREAM = ["strategy=finetune", "scenario.tasks=[[0],[1]]", "epochs=2"]
STEPS = list(range(1, 9))


def store_of(path: Path) -> Any:
    """MLflow's own client of a SQLite store."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{path}")


def steps_of(client: Any, run: str, tag: str) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run, tag)]


def wandb_records(path: Path) -> list[Any]:
    """The records of a file of W&B: a log of blocks, as LevelDB writes them, of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole, found = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, part = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # a whole record, or its last part
            found.append(Record.FromString(whole))
            whole = b""
    return found


def wandb_rows(records: list[Any]) -> list[dict[str, Any]]:
    """What has been logged, row by row."""
    return [
        {"/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]


# ---------------------------------------------------------------- a whole run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture(scope="module")
def ended(place: Path, cache_dir: Path) -> list[subprocess.CompletedProcess[str]]:
    """A run with both trackers that Ctrl-C stops in its second task, and the command that goes on with it.

    Whatever it sends would reach a socket that nobody has to answer.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WANDB_BASE_URL"), address)
    (place / "home").mkdir()
    home = {"HOME": str(place / "home"), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
    paths = {"PYTHONPATH": str(tiny.ROOT / "tests"), "PYTEST_CURRENT_TEST": ""}  # MLflow is silent in tests
    words = [
        str(tiny.ROOT / "train.py"), *tiny.SETTINGS, *STREAM, f"cache_dir={cache_dir}",
        "logger=[mlflow,wandb]", "logger.tensorboard=null",
        "+callbacks.stop._target_=tiny.StopAt", "resume=auto", "hydra.run.dir=one",
    ]  # fmt: skip
    results = [
        warm.run([*words, f"+callbacks.stop.epoch={epoch}"], place, {**proxies, **home, **paths})
        for epoch in (3, 99)
    ]
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):  # nobody has called
        listener.accept()
    listener.close()
    return results


def test_a_tracked_run_is_stopped_goes_on_and_touches_nothing_else(
    ended: list[subprocess.CompletedProcess[str]], place: Path
) -> None:
    first, second = ended
    assert first.returncode == 130, first.stderr
    (line,) = first.stderr.splitlines()
    assert "ckpt_path=" in line and "'logger=[mlflow,wandb]'" in line
    assert second.returncode == 0, second.stderr
    assert second.stderr == ""
    assert list((place / "home").rglob("*")) == []
    assert {path.name for path in place.iterdir()} == {"home", "one", "runs"}
    assert {path.name for path in (place / "runs").iterdir()} == {"mlflow.db", "mlflow_artifacts"}


def test_mlflow_has_each_step_once_the_settings_the_figures_and_the_pictures(
    ended: list[subprocess.CompletedProcess[str]], place: Path
) -> None:
    client = store_of(place / "runs" / "mlflow.db")
    (group,) = client.search_experiments(filter_string="name = 'mergan'")
    (run,) = client.search_runs([group.experiment_id])
    own = run.info.run_id
    assert (run.info.run_name, run.info.status) == ("one", "FINISHED")
    assert json.loads((place / "one" / "mlflow_run.json").read_text()) == {"run": own}
    assert steps_of(client, own, "g/loss") == STEPS
    assert steps_of(client, own, "accuracy/average") == [4, 8]
    figures = json.loads((place / "one" / "metrics.json").read_text())
    numbers = {f"final/{key}": value for key, value in figures.items() if not isinstance(value, str)}
    assert {key: run.data.metrics[key] for key in numbers} == numbers
    params = run.data.params
    assert (params["strategy"], params["lr"], params["tasks"]) == ("Finetune", "0.0005", "0 | 1")
    assert not any(key.startswith(("logger", "callbacks", "cache_dir")) for key in params)
    files = {item.path for item in client.list_artifacts(own)}
    assert {"config.yaml", "accuracy_matrix.csv", "images"} <= files
    pictures = [item.path for item in client.list_artifacts(own, "images") if item.path.endswith(".png")]
    assert sorted("".join(name.split("+")[:3]) for name in pictures) == [
        "images/samplesstep1", "images/samplesstep2",
    ]  # fmt: skip


def test_wandb_keeps_both_parts_of_the_run_under_one_id_in_the_run_folder(
    ended: list[subprocess.CompletedProcess[str]], place: Path
) -> None:
    own = json.loads((place / "one" / "wandb_run.json").read_text())["run"]
    folders = sorted((place / "one" / "wandb").iterdir())
    assert len(folders) == 2 and all(folder.name.endswith(own) for folder in folders)
    parts = [wandb_records(folder / f"run-{own}.wandb") for folder in folders]
    steps, codes = [], []
    for records in parts:
        (started,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
        assert (started.run_id, started.display_name, started.project, started.host) == (
            own,
            "one",
            "mergan",
            "",
        )
        codes += [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"]
        steps += [row["step"] for row in wandb_rows(records) if "g/loss" in row]
    assert codes == [255, 0]  # stopped by Ctrl-C, finished
    assert steps == STEPS
    figures = json.loads((place / "one" / "metrics.json").read_text())
    assert wandb_rows(parts[1])[-1]["final/accuracy"] == figures["accuracy"]
    media = [path.name.split("_")[0] for path in (folders[1] / "files").rglob("*.png")]
    assert media == ["samples"]
    assert not list((place / "one" / "wandb").rglob("requirements.txt"))


def test_a_tracker_changes_no_figure(
    ended: list[subprocess.CompletedProcess[str]],
    place: Path,
    compose: Callable[..., DictConfig],
    tmp_path: Path,
) -> None:
    plain = experiment.run(compose(*STREAM), tmp_path)
    tracked = json.loads((place / "one" / "metrics.json").read_text())
    assert tiny.untimed(tracked) == tiny.untimed(json.loads(json.dumps(plain)))


# ---------------------------------------------------------------- the store of MLflow


@pytest.fixture
def store(ended: list[subprocess.CompletedProcess[str]], place: Path, tmp_path: Path) -> Path:
    """A store of one's own, whose tables exist."""
    shutil.copyfile(place / "runs" / "mlflow.db", tmp_path / "mlflow.db")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    return tmp_path / "mlflow.db"


def tracker(store: Path, config: dict[str, Any] | None = None, experiment: str = "own") -> MLflowTracker:
    return MLflowTracker(f"sqlite:///{store}", experiment, store.parent / "run", config or {"lr": 0.1})


def runs_in(store: Path) -> list[Any]:
    client = store_of(store)
    return client.search_runs([client.get_experiment_by_name("own").experiment_id])


def test_a_failed_run_is_marked_and_goes_on_under_its_id(store: Path) -> None:
    log = tracker(store)
    log.save()
    try:
        raise ValueError
    except ValueError:
        log.finalize("failed")
        log.finalize("failed")  # by Lightning, then by the run
    assert [run.info.status for run in runs_in(store)] == ["FAILED"]
    again = tracker(store, {"lr": 0.2, "seed": 1})
    again.save()
    again.finalize("success")  # Lightning's word for the end of the steps
    (run,) = runs_in(store)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"lr": "0.1", "seed": "1"} and run.data.tags["lr"] == "0.2"
    again.log_final({"tasks": "0 | 1"}, {"final/accuracy": 0.5}, 4)
    assert [run.info.status for run in runs_in(store)] == ["FINISHED"]


def test_what_is_not_saved_does_not_reach_the_store(store: Path) -> None:
    log = tracker(store)
    log.log_metrics({"g/loss": 1.0}, step=1)
    log.save()
    log.log_metrics({"g/loss": 2.0}, step=2)
    log.log_picture("samples", np.zeros((4, 4, 3), np.uint8), 2)
    log.finalize("failed")
    (run,) = runs_in(store)
    assert steps_of(store_of(store), run.info.run_id, "g/loss") == [1]
    assert store_of(store).list_artifacts(run.info.run_id) == []


def test_names_of_any_classes_are_metrics_of_their_own(store: Path) -> None:
    names = ["<script>", "$x", "猫", "a//b", "../..", "é" * 300, "é" * 301, "a", "\x1b[2J", " "]
    log = tracker(store)
    log.log_metrics({f"recall/class_{name}": float(index) for index, name in enumerate(names)}, step=1)
    log.save()
    (run,) = runs_in(store)
    assert sorted(run.data.metrics.values()) == [float(index) for index in range(len(names))]
    assert name_of("recall/class_a") == "recall/class_a" and name_of("class_a<b") == "class_a_u003c_b"


@pytest.mark.parametrize("note", ['{"run": "../../x"}', "[1", "[" * 10_000, '{"run": "0123456789abcdef"}'])
def test_a_note_that_names_no_run_of_the_store_starts_a_new_one(
    store: Path, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = RunFolder(store.parent / "run").tracker("mlflow")
    path.parent.mkdir()
    path.write_text(note)
    tracker(store).save()
    (run,) = runs_in(store)
    assert json.loads(path.read_text()) == {"run": run.info.run_id}
    assert "a new one is started" in caplog.text


def test_a_store_that_breaks_ends_the_run_with_one_line(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tracker(store)
    log.save()
    store.write_bytes(b"no database" * 1000)
    log.log_metrics({"g/loss": 1.0}, step=1)
    with pytest.raises(
        StorageError, match=r"^logger\.mlflow: sqlite:.* cannot be written .*logger\.mlflow=null"
    ):
        log.save()
    log.save()  # nothing is tried again
    log.finalize("failed")
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mlruns", "use sqlite:///PATH.db"),
        ("sqlite:////dev/null/a.db", "cannot be used"),
        ("sqlite:///{broken}", "not a database"),
        ("postgresql://me:secret@127.0.0.1:9/x", r"me:\*\*\*@127"),
        ("http://127.0.0.1:9", "Connection refused"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_at_once(tmp_path: Path, uri: str, words: str) -> None:
    (tmp_path / "broken").write_text("no database")
    with pytest.raises(ConfigError, match=words) as refused:
        MLflowTracker(uri.format(broken=tmp_path / "broken"), "own", tmp_path / "run", {})
    assert str(refused.value).startswith("logger.mlflow.tracking_uri=") and "secret" not in str(refused.value)
    assert not (tmp_path / "run").exists()


OPEN = """
import sys
from mergan.output.trackers.mlflow import MLflowTracker
log = MLflowTracker(sys.argv[1], "own", sys.argv[2], {"lr": 0.1})
for step in range(5):
    log.log_metrics({"a": 1.0}, step=step)
    log.save()
"""


def test_two_processes_make_a_store_and_write_to_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "open.py").write_text(OPEN)
    store = tmp_path / "new" / "mlflow.db"

    def opened(name: str) -> subprocess.CompletedProcess[str]:
        return warm.run([str(tmp_path / "open.py"), f"sqlite:///{store}", str(tmp_path / name)], tmp_path)

    with ThreadPoolExecutor() as pool:
        for result in pool.map(opened, ["one", "two"]):
            assert result.returncode == 0, result.stderr
    runs = runs_in(store)
    assert {run.info.run_name for run in runs} == {"one", "two"}
    assert all(steps_of(store_of(store), run.info.run_id, "a") == [0, 1, 2, 3, 4] for run in runs)


# ---------------------------------------------------------------- before anything runs

WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from mergan.train import main
status = main(sys.argv[2:])
assert "torch" not in sys.modules
sys.exit(status)
"""


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_named_before_torch_is_imported(tmp_path: Path, name: str) -> None:
    words = [f"logger={name}", "debug=smoke", "hydra.run.dir=run"]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, name, *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tiny.ROOT)},
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert (
        ended.stderr == f"error: logger.{name}: needs {name}; install it with pip install 'mergan[{name}]'\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("wandb", {"mode": "online"}),
        ("mlflow", {"tracking_uri": "http://a.b"}),
        ("mlflow", {"tracking_uri": "databricks"}),
    ],
)
def test_a_checkpoint_cannot_ask_for_sending(name: str, values: dict[str, str]) -> None:
    kinds = {"wandb": "wandb.WandbTracker", "mlflow": "mlflow.MLflowTracker"}
    node = {"_target_": f"mergan.output.trackers.{kinds[name]}", **values}
    config = {"logger": {name: node}}
    with pytest.raises(CheckpointError, match=rf"logger\.{name}\.\w+=.*comes from the command alone"):
        trust.of_command({}, [CONF]).check(config, "checkpoint x")
    trust.of_command(config, [CONF]).check(config, "checkpoint x")
    node.update(dict.fromkeys(values))  # as by default: what writes to files goes on by ckpt_path= alone
    trust.of_command({}, [CONF]).check(config, "checkpoint x")


def test_settings_begin_with_what_tells_runs_apart(compose: Callable[..., DictConfig]) -> None:
    from mergan import config

    found = flattened(config.plain(config.typed(compose("strategy=ewc"))))
    assert list(found)[:2] == ["strategy", "strategy.weight"] and found["strategy"] == "EWC"
    assert list(found).index("lr") < list(found).index("evaluation.k")


def test_which_loggers_take_pictures_and_final_figures(store: Path) -> None:
    for log in (EventLog(store.parent), tracker(store)):
        assert isinstance(log, TakesPictures) and isinstance(log, TakesFinalFigures)
