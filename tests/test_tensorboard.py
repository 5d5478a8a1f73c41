"""What the event files hold for the pages of TensorBoard. tests/browser looks at the pages themselves."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import warm
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util import tensor_util

from mergan.config.composition import node_of
from mergan.output import event_files, event_hparams, event_tags
from mergan.output.event_log import EventLog
from mergan.output.sweep import SweepFolder
from mergan.run import experiment

GROUPS = [*re.findall(r"^    ([a-z_]+/)", event_tags.__doc__ or "", re.MULTILINE), "g/"]


@pytest.fixture(scope="module")
def folder(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of two tasks with a strategy that adds a term to the loss."""
    path = tmp_path_factory.mktemp("runs") / "first"
    own = ["strategy=retrain_and_align", tiny.EVENTS, tiny.HEAT_MAPS]
    experiment.run(tiny.compose(cache_dir, *own), path)
    return path


@pytest.fixture(scope="module")
def board(folder: Path) -> EventAccumulator:
    return read(folder)


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


def string(board: EventAccumulator, tag: str) -> Any:
    (event,) = board.Tensors(tag)
    return tensor_util.make_ndarray(event.tensor_proto).item()


# ---------------------------------------------------------------- scalars


def test_what_matters_comes_first_in_the_alphabet_and_no_class_is_listed(board: EventAccumulator) -> None:
    tags = sorted(board.Tags()["scalars"])
    assert {f"{tag.partition('/')[0]}/" for tag in tags} == set(GROUPS) - {"per_class_"}
    assert tags[0] == "after_task/accuracy"
    assert [tag for tag in tags if tag.startswith("after_task_accuracy/")] == [
        "after_task_accuracy/task_01", "after_task_accuracy/task_02",
    ]  # fmt: skip
    assert not any("class_0" in tag for tag in tags)
    assert board.Scalars("speed/images_per_second")[-1].value > 0


def test_a_class_goes_by_its_name_where_it_is_asked_for(tmp_path: Path) -> None:
    hostile = ["<script>alert(1)</script>", "$x^2$", "größe 7/ñ"]
    values = {f"recall/class_{name}": 0.5 for name in hostile} | {"recall/average": 0.5}
    for per_class in (False, True):
        log = EventLog(tmp_path / str(per_class), per_class=per_class)
        log.log_metrics(values, step=2)
        log.save()
        found = set(read(tmp_path / str(per_class)).Tags()["scalars"])
        assert found == {"after_task/recall", *(f"per_class_recall/{name}" for name in hostile if per_class)}


def test_a_figure_has_the_name_that_it_has_in_metrics_json() -> None:
    logged = {"fid/pooled": 3.0, "fid/average": 4.0, "kid/average": 5.0, "forgetting/average": 0.1}
    assert event_tags.tagged(logged, per_class=False) == {
        "after_task/fid": 3.0,
        "after_task/fid_average": 4.0,
        "after_task/kid": 5.0,
        "after_task/forgetting": 0.1,
    }


# ---------------------------------------------------------------- charts


def test_every_chart_shows_something(board: EventAccumulator) -> None:
    layout = Layout.FromString(string(board, "custom_scalars__config__"))
    assert [category.title for category in layout.category] == ["What is remembered", "Losses", "Speed"]
    tags = board.Tags()["scalars"]
    shown = {
        chart.title: {tag for tag in tags if any(re.match(one, tag) for one in chart.multiline.tag)}
        for category in layout.category
        for chart in category.chart
    }
    assert {title for title, found in shown.items() if not found} == {"FID"}  # too few images
    assert shown["strategy"] == {"g/alignment"}
    assert {"d/loss", "d/real", "d/fake"} <= shown["discriminator"]
    assert {"g/loss", "g/adversarial", "g/classifier"} == shown["generator"]
    losses = {tag for tag in tags if re.match("[dg]/", tag)}
    assert losses == set.union(*(shown[chart.title] for chart in layout.category[1].chart))


@pytest.mark.parametrize("learner", ["learner=cvae", "objective=wasserstein_gp objective.mode_seeking=0.1"])
def test_no_term_of_a_learner_counts_as_one_of_the_strategy(
    learner: str, cache_dir: Path, tmp_path: Path
) -> None:
    run = tiny.build(tiny.compose(cache_dir, "strategy=finetune", "epochs=1", *learner.split()), tmp_path)
    run.fit()
    strategy = event_tags.CHARTS["Losses"]["strategy"]
    assert run.module.last_losses and not [tag for tag in run.module.last_losses if re.match(strategy, tag)]


# ---------------------------------------------------------------- pictures


def test_pictures_have_the_task_as_their_step(board: EventAccumulator, folder: Path) -> None:
    assert sorted(board.Tags()["images"]) == ["samples after each task", "values after each task"]
    pictures = board.Images("samples after each task")
    assert [picture.step for picture in pictures] == [1, 2]
    for picture, path in zip(pictures, sorted(folder.glob("samples/task_*.png")), strict=True):
        with Image.open(io.BytesIO(picture.encoded_image_string)) as own, Image.open(path) as saved:
            assert np.array_equal(np.asarray(own), np.asarray(saved))  # with real images below the rows


# ---------------------------------------------------------------- texts


def test_configuration_and_closing_table_are_texts(board: EventAccumulator, folder: Path) -> None:
    configuration = string(board, "configuration").decode()
    assert configuration == f"```yaml\n{(folder / 'config.yaml').read_text().rstrip()}\n```"
    figures = json.loads((folder / "metrics.json").read_text())
    table = string(board, "closing table").decode()
    assert table.startswith("| accuracy | judge on real |") and f"| {figures['accuracy']:.3f} |" in table
    assert table.endswith("Tasks: 0,1 &#124; 2,3") or "Tasks: " in table


def test_a_fence_in_a_name_does_not_end_the_configuration(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("# tasks: ```` <b>\nseed: 0\n")
    log = EventLog(run)
    log.save()
    assert string(read(run), "configuration").decode() == "`````yaml\n# tasks: ```` <b>\nseed: 0\n`````"


# ---------------------------------------------------------------- settings and figures


def test_the_run_is_listed_with_its_settings_and_final_figures(board: EventAccumulator, folder: Path) -> None:
    content = {tag: board.SummaryMetadata(tag).plugin_data.content for tag in board.summary_metadata}
    listed = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert [info.name for info in listed.hparam_infos] == list(event_hparams.MAIN)
    assert all(info.differs for info in listed.hparam_infos)
    assert "accuracy" in [info.display_name for info in listed.metric_infos]
    for info in listed.metric_infos:
        assert len(board.Scalars(info.name.tag)) == 1
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.group_name == f"first in {folder.parent}"
    values = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}
    assert values == {
        "strategy": "retrain_and_align", "seed": 0, "lr": 5e-4,
        "batch_size": 8, "embedding_dim": 8, "epochs": 2,
    }  # fmt: skip
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS


def settings(**changes: Any) -> dict[str, Any]:
    plain = {"seed": 1, "lr": 0.1, "batch_size": 4, "embedding_dim": 8, "epochs": [1, 2]}
    return plain | {"strategy": {"_target_": "theirs.Own", "weight": 3.0}} | changes


def test_what_varies_in_a_sweep_comes_first(tmp_path: Path) -> None:
    (tmp_path / "sweep.csv").write_text('job,strategy.weight,network,"a,b",status,accuracy\n0,3,dcgan,1,x,\n')
    varying = SweepFolder(tmp_path).varying()
    assert varying == ["strategy.weight", "network", "a,b"]
    typed = ["strategy.weight=3.0", "+network=dcgan", "evaluation=accuracy", "debug=smoke", "cache_dir=/x"]
    found = event_hparams.compared(settings(network={"generator": {}}), typed, varying)
    assert found.first == ["strategy.weight", "network"]
    assert dict(found.values) == {
        "strategy": "Own", "seed": 1, "lr": 0.1, "batch_size": 4, "embedding_dim": 8, "epochs": "[1, 2]",
        "strategy.weight": 3.0, "network": "dcgan",
    }  # fmt: skip


def test_a_single_run_also_lists_what_was_typed() -> None:
    typed = ["logger.tensorboard.per_class=true", "evaluation=accuracy", "~network.x", "init_from=null"]
    found = event_hparams.compared(settings(), typed, None)
    assert [key for key in found.values if key not in event_hparams.MAIN] == ["evaluation", "init_from"]
    assert found.values["evaluation"] == "accuracy" and found.first == event_hparams.MAIN


def test_own_strategies_go_by_the_name_of_their_choice() -> None:
    for name in tiny.STRATEGIES:
        node = node_of("strategy", f"strategy={name}")
        assert event_hparams.compared(settings(strategy=node), [], None).values["strategy"] == name


# ---------------------------------------------------------------- going on


def events(folder: Path) -> Iterator[Any]:
    """The events of all files, none of them hidden by TensorBoard."""
    for path in sorted((folder / "tensorboard").glob("events.*")):
        yield from LegacyEventFileLoader(str(path)).Load()


def test_a_killed_run_that_goes_on_has_every_picture_and_scalar_once(cache_dir: Path, tmp_path: Path) -> None:
    kill = "+callbacks.kill._target_=tiny.KillAfterPictures"
    words = [
        str(tiny.ROOT / "train.py"), *tiny.SETTINGS[:-2], "strategy=finetune", "trainer.accelerator=cpu",
        f"cache_dir={cache_dir}", "hydra.run.dir=run", "resume=auto", kill,
    ]  # fmt: skip
    where = {"PYTHONPATH": str(tiny.ROOT / "tests")}
    killed = warm.run([*words, "+callbacks.kill.task=1"], tmp_path, where)
    assert killed.returncode == -9, killed.stderr
    run = tmp_path / "run"
    assert [picture.step for picture in read(run).Images("samples after each task")] == [
        1,
        2,
    ]  # not yet in the checkpoint
    done = warm.run([*words, "+callbacks.kill.task=9"], tmp_path, where)
    assert done.returncode == 0, done.stderr
    logged = Counter(
        (value.tag, event.step)
        for event in events(run)
        if event.HasField("summary")
        for value in event.summary.value
    )
    twice = {tag for (tag, _), times in logged.items() if times > 1}
    assert twice == {"progress/epoch"}  # with the losses and with the figures
    assert {step for tag, step in logged if tag.startswith("samples")} == {1, 2}
    assert {step for tag, step in logged if tag == "g/loss"} == set(range(1, 9))


def test_cutting_keeps_what_was_logged_up_to_the_step(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for task, step in ((1, 10), (2, 20)):
        log.log_metrics({"g/loss": 0.5}, step=step)
        log.log_picture("samples", np.zeros((4, 4, 3), dtype=np.uint8), step=task)
    log.finalize("success")
    place = tmp_path / "tensorboard"
    (path,) = (path for path in place.glob("events.*") if not path.name.endswith(".about"))
    whole = path.read_bytes()
    (place / "events.out.tfevents.notes").write_text("no event file")
    path.write_bytes(whole + whole[:20])  # a record that is not whole
    event_files.cut(place, 20)
    assert path.read_bytes() == whole
    event_files.cut(place, 19)
    board = read(tmp_path)
    assert [event.step for event in board.Scalars("g/loss")] == [10]
    assert [event.step for event in board.Images("samples after each task")] == [1]
    assert (place / "events.out.tfevents.notes").read_text() == "no event file"


def test_the_final_figures_of_an_older_version_are_replaced(tmp_path: Path) -> None:
    place = tmp_path / "tensorboard"
    place.mkdir()
    (place / "events.out.tfevents.1.host.2.3.final").touch()
    log = EventLog(tmp_path, resume_step=4)
    log.save()
    assert not list(place.glob("*.final")) and len(list(place.glob("*.about"))) == 1
