"""The frozen generator: when it is taken, and that nothing else ever touches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import torch
from torch import Tensor

from mergan.checkpoints import file as checkpoint
from mergan.learners.acgan import ACGAN
from mergan.strategies import Context

Build = Callable[..., tiny.Run]
State = dict[str, Tensor]


class SnapshotWatcher(pl.Callback):
    """Copies the snapshot at every step, and the sampler after the last step of every epoch."""

    def __init__(self) -> None:
        self.snapshots: list[tuple[int, State]] = []  # epoch, state
        self.samplers: dict[int, State] = {}  # by epoch
        self.modes: list[tuple[bool, bool]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._look(pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, ACGAN)
        self._look(pl_module)
        self.samplers[pl_module.current_epoch] = tiny.state(pl_module.sampler)

    def _look(self, module: pl.LightningModule) -> None:
        assert isinstance(module, ACGAN)
        self.snapshots.append((module.current_epoch, tiny.state(module.snapshot)))
        self.modes.append((module.snapshot.training, module.generator.training))


@pytest.mark.parametrize("strategy", ["finetune", "joint_retrain", "replay_alignment"])
@pytest.mark.parametrize(("network", "ema"), [("dcgan", "null"), ("upsample", "0.5")])
def test_snapshot_is_the_sampler_at_the_end_of_the_last_task(
    build: Build, strategy: str, network: str, ema: str
) -> None:
    run = build(f"strategy={strategy}", f"network={network}", f"learner.ema={ema}", "epochs=[2,1]")
    initial = tiny.state(run.module.snapshot)
    watcher = SnapshotWatcher()
    run.fit(watcher)
    assert len(watcher.snapshots) == 12  # 3 epochs of 2 steps, before and after each
    for epoch, snapshot in watcher.snapshots:
        expected = initial if epoch < 2 else watcher.samplers[1]
        assert tiny.equal(snapshot, expected)
    assert tiny.equal(tiny.state(run.module.snapshot), watcher.samplers[2])
    assert not tiny.equal(watcher.samplers[0], watcher.samplers[1])


def test_averaged_snapshot_is_not_the_generator_in_training(build: Build) -> None:
    module = build("strategy=joint", "learner.ema=0.5").fit().module
    assert tiny.equal(tiny.state(module.snapshot), tiny.state(module.sampler))
    assert not tiny.equal(tiny.state(module.snapshot), tiny.state(module.generator))


def test_checkpoints_of_a_task_hold_the_snapshot_taken_at_its_end(build: Build) -> None:
    run = build("strategy=joint_retrain", "epochs=[2,1]").fit()
    for name in ("task_00", "task_01", "last"):
        saved = checkpoint.read(run.folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
        generator, snapshot = (
            {key.removeprefix(prefix): value for key, value in saved.items() if key.startswith(prefix)}
            for prefix in ("generator.", "snapshot.")
        )
        assert tiny.equal(generator, snapshot)


def test_strategy_concludes_a_task_after_the_snapshot_and_before_the_evaluation(build: Build) -> None:
    run = build("strategy=finetune", "learner.ema=0.5", "epochs=[2,1]")
    module, seen = run.module, []

    def concluding(context: Context) -> None:
        assert context is module.context
        snapshot_is_taken = tiny.equal(tiny.state(module.snapshot), tiny.state(module.sampler))
        real = set(context.real.labels.tolist()), len(context.real)
        seen.append((module.current_epoch, len(run.evaluation.rows), snapshot_is_taken, real))

    module.strategy.end_task = concluding  # type: ignore[method-assign]
    run.fit()
    assert seen == [(1, 0, True, ({0, 1}, 60)), (2, 1, True, ({2, 3}, 60))]


@pytest.mark.parametrize("strategy", ["joint_retrain", "replay_alignment", "ewc", "deep_generative_replay"])
def test_snapshot_is_frozen(build: Build, strategy: str) -> None:
    watcher = SnapshotWatcher()
    run = build(f"strategy={strategy}", "network=upsample", "learner.ema=0.5").fit(watcher)
    module = run.module
    assert set(watcher.modes) == {(False, True)}
    frozen = [*module.snapshot.parameters(), *module.sampler.parameters()]
    assert not any(parameter.requires_grad for parameter in frozen)
    assert all(parameter.grad is None for parameter in frozen)
    trained = {
        id(parameter)
        for optimizer in run.trainer.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert not trained & {id(parameter) for parameter in frozen}
    networks = (module.generator, module.discriminator)
    assert trained == {id(parameter) for network in networks for parameter in network.parameters()}


def test_snapshot_shares_no_memory_with_the_generator(build: Build) -> None:
    module = build("strategy=joint", "epochs=1").fit().module
    with torch.no_grad():
        for parameter in module.generator.parameters():
            parameter.add_(1)
    assert not any(
        torch.equal(mine, other)
        for mine, other in zip(module.snapshot.parameters(), module.generator.parameters(), strict=True)
    )


def test_setting_the_mode_never_reaches_the_snapshot(build: Build) -> None:
    module = build("learner.ema=0.5").module
    module.train()
    assert module.generator.training and module.discriminator.training
    assert not any(part.training for part in module.snapshot.modules())
    assert not any(part.training for part in module.sampler.modules())
