"""Going on with a run gives what an uninterrupted one gives; starting from a checkpoint carries it over."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tiny
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mergan import config
from mergan.checkpoints import file as checkpoint
from mergan.checkpoints import trust
from mergan.run import automatic, experiment, resume
from mergan.run.transfer import labels_here, transfer
from mergan.system.errors import CheckpointError, ConfigError
from torture.compare import differences

Compose = Callable[..., DictConfig]

# everything that carries state from step to step, at once
STATEFUL = ["objective.critic_steps=2", "learner.ema=0.9", "learner.lr_schedule=cosine", "objective.r1=0.1",
            "objective.penalty_every=3"]  # fmt: skip
ADAM_GOES_ON = "learner.reset_optimizers=false"
RENEWED = "learner.renew_discriminator=true"
STREAMS = {
    "finetune": ["strategy=finetune", RENEWED, "network=upsample", tiny.HEAT_MAPS, *STATEFUL],
    "joint": ["strategy=joint", "network=upsample", "epochs=3", *STATEFUL],
    "buffer": ["strategy=joint_retrain", "network=upsample", *STATEFUL],
    "live": ["strategy=joint_retrain", "strategy.mode=live", ADAM_GOES_ON, "network=upsample"],
    "alignment": ["strategy=replay_alignment", "network=upsample", ADAM_GOES_ON, *STATEFUL],
    "buffer dcgan": ["strategy=joint_retrain", ADAM_GOES_ON, "objective=wasserstein_gp"],
    "alignment dcgan": ["strategy=replay_alignment", "learner.shared_rate=0.3", *STATEFUL],
    "retrain and align": ["strategy=retrain_and_align", ADAM_GOES_ON, "network=upsample", *STATEFUL],
    "ewc": ["strategy=ewc", "strategy.samples=8", "network=upsample", *STATEFUL],
    "mas dcgan": ["strategy=mas", "strategy.samples=8", ADAM_GOES_ON, "network.generator.norm=batch"],
    "experience replay": ["strategy=experience_replay", "strategy.capacity=9", "network=upsample", *STATEFUL],
    "generative replay": ["strategy=deep_generative_replay", "strategy.solver_steps=3", *STATEFUL],
}


def assert_same_run(folder: Path, reference: Path) -> None:
    """Every file of the two run folders tells the same, timings aside."""
    matrices = checkpoint.read(reference / "checkpoints" / "last.ckpt")["callbacks"]["ContinualEvaluation"]
    assert {"accuracy", "recall", "coverage", "kid"} <= set(matrices["matrices"])
    assert differences(folder, reference) == []


def test_what_differs_between_two_runs_is_found(compose: Compose, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 2)):
        experiment.run(
            compose("strategy=finetune", f"seed={seed}", tiny.EVENTS, tiny.HEAT_MAPS), tmp_path / name
        )
    found = differences(tmp_path / "second", tmp_path / "first")
    for part in (
        "last.ckpt: state_dict",
        "last.ckpt: optimizer_states",
        "samples/",
        "metrics.csv",
        "metrics.json",
    ):
        assert any(part in name for name in found), part
    (tmp_path / "second" / "matrices.png").unlink()
    assert "matrices.png: only in one of them" in differences(tmp_path / "second", tmp_path / "first")


@pytest.mark.parametrize("overrides", STREAMS.values(), ids=STREAMS)
def test_run_stopped_in_every_epoch_equals_an_uninterrupted_one(
    compose: Compose, tmp_path: Path, overrides: list[str]
) -> None:
    stop = ["+callbacks.stop._target_=tiny.StopAt", "+callbacks.stop.epoch=-1"]
    cfg = compose(*overrides, *stop, tiny.EVENTS)
    experiment.run(cfg, tmp_path / "reference")
    folder, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    epochs = checkpoint.read(tmp_path / "reference" / "checkpoints" / "last.ckpt")["epoch"] + 1
    assert epochs >= 3
    for epoch in range(1, epochs):  # in the middle of tasks and at their ends
        cfg.callbacks.stop.epoch = epoch
        with pytest.raises(KeyboardInterrupt):
            experiment.run(cfg, folder)
        assert checkpoint.read(last)["epoch"] == epoch - 1
        cfg.ckpt_path = str(last)
    cfg.callbacks.stop.epoch = -1
    experiment.run(cfg, folder)
    assert_same_run(folder, tmp_path / "reference")


def test_runs_of_the_same_seed_are_the_same_and_others_are_not(compose: Compose, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        experiment.run(compose(*STREAMS["buffer"], f"seed={seed}", tiny.EVENTS), tmp_path / name)
    assert_same_run(tmp_path / "first", tmp_path / "second")
    first, other = (
        checkpoint.read(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("first", "other")
    )
    assert not tiny.equal(first["state_dict"], other["state_dict"])


def test_resumed_run_does_only_what_is_left(compose: Compose, tmp_path: Path) -> None:
    experiment.run(compose("strategy=finetune"), tmp_path / "whole")
    path = tmp_path / "whole" / "checkpoints" / "task_00.ckpt"
    assert checkpoint.read(path)["global_step"] == 4
    experiment.run(compose("strategy=finetune", f"ckpt_path={path}"), tmp_path / "rest")
    rows = [row for row in tiny.csv_rows(tmp_path / "rest") if "g/loss" in row]
    assert [(int(row["epoch"]), int(row["step"])) for row in rows] == [(2, 5), (2, 6), (3, 7), (3, 8)]
    # the first row of the matrix is that of the checkpoint
    matrix, whole = ((tmp_path / name / "accuracy_matrix.csv").read_text() for name in ("rest", "whole"))
    assert matrix == whole


def test_finished_run_can_be_resumed_without_training_or_logging_again(
    compose: Compose, tmp_path: Path
) -> None:
    metrics = experiment.run(compose("strategy=finetune"), tmp_path)
    rows = tiny.csv_rows(tmp_path)
    before = checkpoint.read(tmp_path / "checkpoints" / "last.ckpt")
    again = experiment.run(
        compose("strategy=finetune", f"ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}"), tmp_path
    )
    assert tiny.untimed(again) == tiny.untimed(metrics)
    after = checkpoint.read(tmp_path / "checkpoints" / "last.ckpt")
    assert tiny.equal(before["state_dict"], after["state_dict"])
    assert [tiny.untimed(row) for row in tiny.csv_rows(tmp_path)] == [tiny.untimed(row) for row in rows]


def test_stopping_before_the_first_checkpoint_leaves_none(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        experiment.run(compose("+callbacks.stop._target_=tiny.StopAt", "+callbacks.stop.epoch=0"), tmp_path)
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not (tmp_path / "metrics.json").exists()


def test_a_metric_that_is_new_in_a_run_begins_where_it_goes_on(compose: Compose, tmp_path: Path) -> None:
    experiment.run(compose("strategy=finetune", "evaluation.metrics.recall=null"), tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "task_00.ckpt"
    metrics = experiment.run(compose("strategy=finetune", f"ckpt_path={path}"), tmp_path / "new")
    content = checkpoint.read(tmp_path / "new" / "checkpoints" / "last.ckpt")
    rows = content["callbacks"]["ContinualEvaluation"]["matrices"]["recall"]
    assert rows[0] == {} and set(rows[1]) == {0, 1, 2, 3}
    assert "recall" in metrics and "recall_forgetting" not in metrics


def test_checkpoint_of_other_classes_is_refused(compose: Compose, tmp_path: Path) -> None:
    experiment.run(compose("strategy=joint", "epochs=1"), tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(CheckpointError, match=r"other classes"):
        experiment.run(compose("strategy=joint", "data.num_classes=5", f"ckpt_path={path}"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------- init_from

PROJECTION = ["network.discriminator.projection=true", "network.discriminator.spectral=true"]
FROZEN = "lr=1e-30"  # steps that change nothing, so that the start can be read off the end


def trained(compose: Compose, folder: Path, *overrides: str) -> tuple[Path, dict[str, Tensor]]:
    """A run over classes 0, 1 and 2 of four: its checkpoint and its state."""
    experiment.run(compose("lr=0.01", "scenario.tasks=[[0,1],[2]]", "epochs=1", *overrides), folder)
    path = folder / "checkpoints" / "last.ckpt"
    return path, checkpoint.read(path)["state_dict"]


def test_networks_are_taken_over_and_classes_may_be_added(compose: Compose, tmp_path: Path) -> None:
    path, old = trained(compose, tmp_path / "old")
    stream = [FROZEN, "data.num_classes=6", "scenario.tasks=[[5],[4]]", "epochs=1"]
    experiment.run(compose(f"init_from={path}", *stream), tmp_path / "new")
    new = checkpoint.read(tmp_path / "new" / "checkpoints" / "task_00.ckpt")["state_dict"]
    tables = {key for key in old if key.endswith(("scale.weight", "shift.weight", "embedding.weight"))}
    heads = {"discriminator.classify.weight", "discriminator.classify.bias"}
    for key, value in old.items():
        if key in tables or key in heads:
            assert torch.equal(new[key][:4], value), key
        elif not key.endswith(("_u", "_v")):  # spectral norm's vectors turn with every pass
            assert torch.equal(new[key], value), key
    for key in tables:  # the new class starts from the mean of the past ones, whoever trained them
        if key.startswith("generator."):
            assert torch.allclose(new[key][5], old[key][:3].mean(dim=0)), key
    content = checkpoint.read(tmp_path / "new" / "checkpoints" / "task_00.ckpt")["mergan"]
    assert (content["seen"], content["known"]) == ([0, 1, 2, 5], [0, 1, 2])


@pytest.mark.parametrize(("strategy", "private_z"), [("finetune", 16), ("joint", 0)])
def test_networks_keep_what_was_chosen_from_the_images(
    compose: Compose, tmp_path: Path, strategy: str, private_z: int
) -> None:
    stream = ["data.channels=3", "network.generator.modulation=null", "evaluation.features=judge"]
    path, _ = trained(compose, tmp_path / "old", f"strategy={strategy}", *stream)
    assert checkpoint.read(path)["mergan"]["config"]["network"]["generator"]["private_z"] == private_z
    for name in ("joint_retrain", "joint"):  # by themselves they would choose 16 and 0
        cfg = compose(f"init_from={path}", f"strategy={name}", "scenario.tasks=[[3]]", "epochs=1", *stream)
        run = experiment.build_experiment(cfg, tmp_path / name)
        assert run.settings.network["generator"]["private_z"] == private_z
        assert run.settings.network["generator"]["modulation"] == "class_and_z"
        assert run.learner.generator.project.private_z == min(private_z, 8)  # of all 8


def test_what_is_kept_of_the_networks_is_no_interpolation(compose: Compose, tmp_path: Path) -> None:
    path, _ = trained(compose, tmp_path / "old")
    content = checkpoint.read(path)
    content["mergan"]["config"]["network"]["generator"]["private_z"] = "${seed}"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"private_z.*no value"):
        automatic.filled(compose(f"init_from={path}", "scenario.tasks=[[3]]", "epochs=1"))


def test_known_classes_are_past_from_the_start(compose: Compose, tmp_path: Path) -> None:
    path, _ = trained(compose, tmp_path / "old")
    stream = ["strategy=replay_alignment", "lr=0.01", "scenario.tasks=[[3]]", "epochs=1"]
    experiment.run(compose(f"init_from={path}", *stream), tmp_path / "new")
    with (tmp_path / "new" / "accuracy_matrix.csv").open(encoding="utf-8") as file:
        header, row = file.read().split()
    assert header == "task,0,1,2,3"
    assert all(row.split(","))
    rows = [row for row in tiny.csv_rows(tmp_path / "new") if "g/loss" in row]
    assert [int(row["step"]) for row in rows] == [1, 2]  # a stream of its own
    assert float(rows[0]["g/alignment"]) == 0  # the snapshot is the generator of the checkpoint
    assert float(rows[1]["g/alignment"]) > 0


def test_classes_per_task_divides_the_new_classes(compose: Compose, tmp_path: Path) -> None:
    path, _ = trained(compose, tmp_path / "old")
    stream = ["data.num_classes=5", "scenario.classes_per_task=1", "epochs=1"]
    experiment.run(compose(f"init_from={path}", *stream), tmp_path / "new")
    own = checkpoint.read(tmp_path / "new" / "checkpoints" / "last.ckpt")["mergan"]
    assert own["seen"] == [0, 1, 2, 3, 4]


def test_stream_started_from_a_checkpoint_can_be_resumed(compose: Compose, tmp_path: Path) -> None:
    path, _ = trained(compose, tmp_path / "old")
    stream = ["data.num_classes=6", "scenario.tasks=[[5],[4]]", "epochs=1", tiny.EVENTS]
    experiment.run(compose(f"init_from={path}", *stream), tmp_path / "reference")
    stop = ["+callbacks.stop._target_=tiny.StopAt", "+callbacks.stop.epoch=1"]
    with pytest.raises(KeyboardInterrupt):
        experiment.run(compose(f"init_from={path}", *stream, *stop), tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    experiment.run(compose(f"ckpt_path={last}", *stream), tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "reference")


def test_rows_of_classes_follow_their_names(compose: Compose, tmp_path: Path) -> None:
    path, old = trained(compose, tmp_path / "old")
    run = tiny.build(compose("data.num_classes=6"), tmp_path / "new")
    names = ["x", "3", "2", "1", "0", "y"]
    network = checkpoint.read(path)["mergan"]["config"]["network"]
    rows = labels_here(checkpoint.read(path), path, network, names)
    assert rows.tolist() == [4, 3, 2, 1]
    transfer(run.module, checkpoint.read(path), path, rows)
    new = run.module.state_dict()
    for key in (
        "generator.norms.0.scale.weight",
        "snapshot.norms.1.shift.weight",
        "discriminator.classify.bias",
    ):
        assert torch.equal(new[key][[4, 3, 2, 1]], old[key]), key


@pytest.mark.parametrize("network", [PROJECTION, ["network=upsample"]])
def test_other_networks_can_be_started_from_too(compose: Compose, tmp_path: Path, network: list[str]) -> None:
    path, old = trained(compose, tmp_path / "old", *network)
    stream = [FROZEN, "data.num_classes=6", "scenario.tasks=[[5]]", "epochs=1", *network]
    experiment.run(compose(f"init_from={path}", *stream), tmp_path / "new")
    new = checkpoint.read(tmp_path / "new" / "checkpoints" / "last.ckpt")["state_dict"]
    for key, value in old.items():
        if key.endswith(("embedding.weight", "embedding.parametrizations.weight.original")):
            assert torch.equal(new[key][:4], value), key


def test_the_averaged_generator_is_what_is_taken_over(compose: Compose, tmp_path: Path) -> None:
    path, old = trained(compose, tmp_path / "old", "learner.ema=0.5")
    stream = [FROZEN, "scenario.tasks=[[3]]", "epochs=1"]
    for ema in ("null", "0.5"):
        experiment.run(compose(f"init_from={path}", f"learner.ema={ema}", *stream), tmp_path / ema)
        new = checkpoint.read(tmp_path / ema / "checkpoints" / "last.ckpt")["state_dict"]
        key = "convs.0.weight"
        assert not torch.equal(old[f"generator.{key}"], old[f"ema.module.{key}"])
        assert torch.equal(new[f"generator.{key}"], old[f"ema.module.{key}"])
        assert torch.equal(new[f"snapshot.{key}"], old[f"ema.module.{key}"])


def test_what_does_not_fit_is_refused(compose: Compose, tmp_path: Path) -> None:
    path, _ = trained(compose, tmp_path / "old")
    cases: list[tuple[list[str], type[Exception], str]] = [
        (["scenario.tasks=[[3],[1]]"], ConfigError, r"class 1 in task 1 was already learned in init_from"),
        (["network=upsample", "scenario.tasks=[[3]]"], CheckpointError, r"of another network"),
        (["network.generator.width=8", "scenario.tasks=[[3]]"], CheckpointError, r"generator\.width differs"),
        (["data.num_classes=3", "scenario.tasks=[[2]]"], CheckpointError, r"no class '3'"),
    ]
    for overrides, kind, message in cases:
        with pytest.raises(kind, match=message):
            experiment.run(compose(f"init_from={path}", *overrides), tmp_path / "new")
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------- changed settings


def command(cfg: DictConfig, overrides: Sequence[str], modules: Sequence[str] = ()) -> resume.Command:
    """A command line as `train.py` sees it."""
    own = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    groups = ["strategy", "experiment", "network", "data", "trainer", "debug"]
    return resume.Command(
        cfg, overrides, groups, [config.CONF], trust.of_command(own, [config.CONF], modules)
    )


def going_on(compose: Compose, folder: Path, *overrides: str) -> resume.Continuation:
    """How `train.py` would go on in `folder` with these overrides."""
    last = folder / "checkpoints" / "last.ckpt"
    return resume.restore(command(compose("strategy=finetune", f"ckpt_path={last}", *overrides), overrides))


def test_changed_settings_are_named_unless_they_are_allowed_or_concern_nothing_learned(
    compose: Compose, tmp_path: Path
) -> None:
    experiment.run(compose("strategy=finetune", "epochs=[2,1]"), tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    shutil.copy(tmp_path / "checkpoints" / "task_00.ckpt", last)  # the second task is yet to come
    with pytest.raises(ConfigError) as refused:
        going_on(compose, tmp_path, "lr=0.5", "learner.ema=0.9", "batch_size=4")
    assert all(key in str(refused.value) for key in ("lr", "learner.ema", "batch_size", "allow_changes=true"))
    assert "learner.betas" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"^epochs:"):
        going_on(compose, tmp_path, "epochs=[3,1]")  # the first task is over
    run = going_on(compose, tmp_path, "epochs=[2,3]", "logger.csv=null")
    assert (list(run.cfg.epochs), run.cfg.logger.csv) == ([2, 3], None)
    assert going_on(compose, tmp_path, "lr=0.5", "allow_changes=true").cfg.lr == 0.5
    experiment.run(run.cfg, tmp_path)
    assert checkpoint.read(last)["epoch"] == 4
    # who asks for nothing new changes nothing
    assert going_on(compose, tmp_path).changed == ()
    assert going_on(compose, tmp_path, "callbacks.samples.columns=3").changed == (
        "callbacks.samples.columns",
    )


def test_a_finished_run_that_is_made_longer_counts_as_unfinished(compose: Compose, tmp_path: Path) -> None:
    experiment.run(compose("strategy=finetune", "scenario.tasks=[[0]]", "epochs=1"), tmp_path)
    assert (tmp_path / "metrics.json").exists()
    last = tmp_path / "checkpoints" / "last.ckpt"
    stop = ["+callbacks.stop._target_=tiny.StopAt", "+callbacks.stop.epoch=1"]
    cfg = compose("strategy=finetune", "scenario.tasks=[[0],[1]]", "epochs=1", f"ckpt_path={last}", *stop)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(cfg, tmp_path)
    assert not (tmp_path / "metrics.json").exists()
