"""The steps of generator and discriminator, watched through a real Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from omegaconf import DictConfig
from torch import Tensor

from mergan.checkpoints import file as checkpoint
from mergan.learners.acgan import ACGAN
from mergan.learners.backward import takes_part_in_backward
from mergan.run import experiment
from mergan.strategies import Context, Drawn, Strategy
from mergan.system.errors import ConfigError, TrainingError

Build = Callable[..., tiny.Run]
Compose = Callable[..., DictConfig]


@dataclass
class OptimizerStep:
    """Everything that a step of an optimizer may and may not have changed."""

    network: str  # g or d
    before: dict[str, list[Tensor]]
    grads: dict[str, list[Tensor]]
    after: dict[str, list[Tensor]] = field(default_factory=dict)
    steps_in_state: float = 0.0  # Adam's own count before the step, 0 when it starts afresh


class StepWatcher(pl.Callback):
    """Records the networks around each step of each optimizer."""

    def __init__(self) -> None:
        self.steps: list[OptimizerStep] = []
        self.rates: list[tuple[float, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ACGAN)
        networks = {"g": pl_module.generator, "d": pl_module.discriminator}

        def grads() -> dict[str, list[Tensor]]:
            return {
                name: [torch.zeros(()) if p.grad is None else p.grad.clone() for p in network.parameters()]
                for name, network in networks.items()
            }

        def parameters() -> dict[str, list[Tensor]]:
            return {name: tiny.weights(network) for name, network in networks.items()}

        for name, optimizer in zip("gd", trainer.optimizers, strict=True):

            def before(optimizer: Any, args: Any, kwargs: Any, name: str = name) -> None:
                counts = [state["step"].item() for state in optimizer.state.values()]
                self.steps.append(
                    OptimizerStep(name, parameters(), grads(), steps_in_state=max(counts, default=0.0))
                )

            def after(optimizer: Any, args: Any, kwargs: Any) -> None:
                self.steps[-1].after = parameters()

            optimizer.register_step_pre_hook(before)
            optimizer.register_step_post_hook(after)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rate_g, rate_d = (optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers)
        self.rates.append((rate_g, rate_d))

    def of(self, network: str) -> list[OptimizerStep]:
        return [step for step in self.steps if step.network == network]


@pytest.mark.parametrize("network", ["dcgan", "upsample", "resnet"])
def test_each_step_changes_its_own_network_alone(build: Build, network: str) -> None:
    watcher = StepWatcher()
    overrides = ["strategy=replay_alignment", "strategy.classifier=true", "objective.critic_steps=2"]
    build(f"network={network}", "epochs=1", *overrides).fit(watcher)
    assert [step.network for step in watcher.steps] == ["g", "d", "d"] * 4  # 2 tasks of 2 steps
    for step in watcher.steps:
        other = {"g": "d", "d": "g"}[step.network]
        assert not tiny.equal(step.before[step.network], step.after[step.network])
        assert tiny.equal(step.before[other], step.after[other])
    for first, second in zip(watcher.steps[:5], watcher.steps[1:6], strict=True):  # within the first task
        assert tiny.equal(first.after, second.before)


def test_gradients_of_one_player_do_not_leak_into_the_other(build: Build) -> None:
    watcher = StepWatcher()
    build("strategy=joint", "epochs=1", "objective.critic_steps=2").fit(watcher)
    for first, second in zip(watcher.steps[:-1], watcher.steps[1:], strict=True):
        idle = {"g": "d", "d": "g"}[second.network]
        assert tiny.equal(first.grads[idle], second.grads[idle])


def test_discriminator_steps_get_a_batch_each(build: Build) -> None:
    run = build("strategy=finetune", "epochs=1", "objective.critic_steps=3")
    sizes: list[int] = []
    original = run.module.strategy.training_batch

    def counting(images: Tensor, labels: Tensor, context: Any) -> Any:
        sizes.append(len(images))
        return original(images, labels, context)

    run.module.strategy.training_batch = counting  # type: ignore[method-assign]
    run.fit()
    assert sizes == [8] * 12  # 2 tasks of 2 steps, 3 batches each


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_every_log_counts_generator_steps(compose: Compose, tmp_path: Path, critic_steps: int) -> None:
    overrides = ["strategy=finetune", "steps_per_epoch=3", f"objective.critic_steps={critic_steps}"]
    metrics = experiment.run(compose(*overrides, tiny.EVENTS), tmp_path)
    # 2 tasks of 2 epochs of 3 steps
    assert metrics["steps"] == 12
    rows = tiny.csv_rows(tmp_path)
    assert [int(row["step"]) for row in rows if "g/loss" in row] == list(range(1, 13))
    assert [int(row["epoch"]) for row in rows if "g/loss" in row] == [i // 3 for i in range(12)]
    assert [int(row["step"]) for row in rows if "accuracy/average" in row] == [6, 12]
    events = tiny.event_steps(tmp_path)
    assert events["g/loss"] == events["d/loss"] == list(range(1, 13))
    assert events["after_task/accuracy"] == [6, 12]
    for name, step in (("task_00", 6), ("task_01", 12), ("last", 12)):
        content = checkpoint.read(tmp_path / "checkpoints" / f"{name}.ckpt")
        assert content["global_step"] == step
        adam_g, adam_d = content["optimizer_states"]
        assert adam_g["state"][0]["step"] == 6  # of this task
        assert adam_d["state"][0]["step"] == 6 * critic_steps


def test_losses_are_read_back_every_so_often_and_at_the_end_of_epochs(build: Build) -> None:
    run = build("strategy=joint", "learner.log_every_n_steps=4", "epochs=2", "steps_per_epoch=5").fit()
    run.trainer.loggers[0].save()
    steps = [int(row["step"]) for row in tiny.csv_rows(run.folder) if "g/loss" in row]
    assert steps == [4, 8, 10, 12, 16, 20]  # 2 epochs of 10 steps


def test_logged_loss_is_the_sum_of_its_weighted_terms(build: Build) -> None:
    weights = {"lambda_cls_g": 2.0, "lambda_cls_d": 3.0, "lambda_cls_fake": 0.5, "gradient_penalty": 4.0}
    weights |= {"r1": 5.0, "scale_g": 0.5, "scale_d": 0.25, "mode_seeking": 0.1}
    overrides = [f"objective.{name}={value}" for name, value in weights.items()]
    losses = build("strategy=joint", "epochs=1", *overrides).fit().module.last_losses
    expected_g = 0.5 * (losses["g/adversarial"] + 2 * losses["g/classifier"]) + 0.1 * losses["g/mode_seeking"]
    assert losses["g/loss"] == pytest.approx(expected_g, rel=1e-4)
    adversarial = losses["d/real"] + losses["d/fake"]
    classifier = 3 * losses["d/classifier"] + 0.5 * losses["d/classifier_fake"]
    penalties = 4 * losses["d/gradient_penalty"] + 5 * losses["d/r1"]
    expected_d = 0.25 * (adversarial + classifier) + penalties
    assert losses["d/loss"] == pytest.approx(expected_d, rel=1e-4)
    assert losses["g/classifier"] > 0 and losses["d/r1"] > 0


def test_mode_seeking_asks_for_a_class_twice_and_spreads_its_pictures(build: Build) -> None:
    asked: list[Tensor] = []
    spread = {}
    for weight in (0.0, 5.0):
        run = build("strategy=joint", "batch_size=9", "epochs=10", f"objective.mode_seeking={weight}")
        run.module.generator.register_forward_hook(lambda net, args, out: asked.append(args[1]))
        run.fit()
        labels = torch.arange(4).repeat_interleave(2)
        torch.manual_seed(0)
        images = run.module.generate(torch.randn(8, 8), labels)
        spread[weight] = (images[::2] - images[1::2]).abs().mean().item()
        pairs = [torch.equal(batch[:4], batch[5:]) for batch in asked if len(batch) == 9]
        assert all(pairs) == (weight > 0)
        asked.clear()
    assert spread[5.0] > 1.2 * spread[0.0]


def test_comparing_images_needs_two_of_them(build: Build) -> None:
    with pytest.raises(ConfigError, match="batch_size=1"):
        build("batch_size=1", "objective.mode_seeking=0.1")


def test_lazy_penalties_come_every_so_often_with_as_many_times_the_weight(build: Build) -> None:
    overrides = ["objective.r1=5.0", "objective.penalty_every=3", "objective.critic_steps=2"]
    run = build("strategy=joint", "epochs=1", "steps_per_epoch=4", *overrides).fit()
    run.trainer.loggers[0].save()
    rows = [row for row in tiny.csv_rows(run.folder) if "g/loss" in row]
    # discriminator steps 0, 3, 6, ... lie in generator steps 1, 2, 4, 5, 7, 8; the last one of each is logged
    assert [int(row["step"]) for row in rows if "d/r1" in row] == [1, 2, 4, 5, 7, 8]
    for row in rows:
        value = {
            key: float(row.get(key, 0)) for key in ("d/loss", "d/real", "d/fake", "d/classifier", "d/r1")
        }
        parts = value["d/real"] + value["d/fake"] + value["d/classifier"]
        if int(row["step"]) in (2, 5, 8):  # the penalised step is the one whose loss is logged
            assert value["d/loss"] == pytest.approx(parts + 15 * value["d/r1"], rel=1e-4)
        else:
            assert value["d/loss"] == pytest.approx(parts, rel=1e-4)


def test_terms_of_weight_zero_are_left_out(build: Build) -> None:
    losses = build("strategy=joint", "epochs=1").fit().module.last_losses
    assert not {"d/classifier_fake", "d/gradient_penalty", "d/r1", "g/alignment"} & set(losses)


def test_sampler_is_the_average_of_the_generators_so_far(build: Build) -> None:
    watcher = StepWatcher()
    module = build("strategy=joint", "learner.ema=0.75", "epochs=1").fit(watcher).module
    generators = [step.after["g"] for step in watcher.of("g")]
    average = generators[0]
    for generator in generators[1:]:
        average = [0.75 * old + 0.25 * new for old, new in zip(average, generator, strict=True)]
    sampled = tiny.weights(module.sampler)
    assert len(generators) == 4
    for parameter, expected in zip(sampled, average, strict=True):
        assert torch.allclose(parameter, expected, atol=1e-6)
    assert not tiny.equal(sampled, tiny.weights(module.generator))
    z, labels = torch.randn(3, 8), torch.tensor([0, 1, 2])
    with torch.no_grad():
        assert torch.equal(module.generate(z, labels), module.sampler(z, labels))


def test_sampler_without_averaging_is_the_generator(build: Build) -> None:
    module = build().module
    assert module.sampler is module.generator


def test_generating_uses_eval_mode_and_leaves_the_mode_as_it_was(build: Build) -> None:
    module = build("network=upsample").module
    module.train()
    before = tiny.state(module.generator)
    z, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 3])
    whole = module.generate(z, labels)
    assert torch.allclose(whole[:1], module.generate(z[:1], labels[:1]), atol=1e-6)  # no batch statistics
    assert module.generator.training
    assert tiny.equal(before, tiny.state(module.generator))


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cooldown", [1.0, 1.0, 1.0, 0.5]),
        ("cosine", [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]),
    ],
)
def test_learning_rates_follow_the_schedule_within_each_task(
    build: Build, schedule: str, factors: list[float]
) -> None:
    watcher = StepWatcher()
    build("strategy=finetune", f"learner.lr_schedule={schedule}", "lr=0.01", "lr_d=0.002").fit(watcher)
    rates_g, rates_d = zip(*watcher.rates, strict=True)
    assert list(rates_g) == pytest.approx([0.01 * factor for factor in factors * 2])
    assert list(rates_d) == pytest.approx([0.002 * factor for factor in factors * 2])


def test_discriminator_learns_at_the_rate_of_the_generator_by_default(build: Build) -> None:
    module = build("lr=0.003").module
    assert (module.lr, module.lr_d) == (0.003, 0.003)


def test_unknown_schedule_is_refused(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"lr_schedule=step: use constant, linear, cosine or cooldown"):
        build("learner.lr_schedule=step")


@pytest.mark.parametrize("reset", [True, False])
def test_adam_forgets_at_the_start_of_a_task_if_told_to(build: Build, reset: bool) -> None:
    watcher = StepWatcher()
    build("strategy=finetune", f"learner.reset_optimizers={reset}").fit(watcher)
    expected = [0, 1, 2, 3] * 2 if reset else list(range(8))  # 2 tasks of 4 steps
    assert [step.steps_in_state for step in watcher.of("g")] == expected
    assert [step.steps_in_state for step in watcher.of("d")] == expected


@pytest.mark.parametrize("renew", [True, False])
def test_discriminator_is_renewed_at_the_start_of_a_task_if_told_to(build: Build, renew: bool) -> None:
    watcher = StepWatcher()
    build("strategy=finetune", f"learner.renew_discriminator={renew}").fit(watcher)
    steps = watcher.of("d")
    initial, trained, next_task = steps[0].before["d"], steps[3].after["d"], steps[4].before["d"]
    assert not tiny.equal(initial, trained)
    assert tiny.equal(next_task, initial if renew else trained)
    assert tiny.equal(steps[2].before["d"], steps[1].after["d"])  # the second epoch is no task's start


@pytest.mark.parametrize("inherit", [True, False])
def test_new_classes_inherit_when_their_task_begins(build: Build, inherit: bool) -> None:
    watcher = StepWatcher()
    module = build("strategy=finetune", f"learner.inherit_classes={inherit}").fit(watcher).module
    names = [name for name, _ in module.generator.named_parameters()]
    table = names.index("norms.0.scale.weight")
    end, start = watcher.of("g")[3].after["g"][table], watcher.of("g")[4].before["g"][table]
    assert tiny.equal(end[:2], start[:2])
    assert torch.equal(end[2:], torch.ones(2, 8))  # never trained, as initialised
    mean = end[:2].mean(dim=0).expand(2, 8)
    assert torch.allclose(start[2:], mean if inherit else torch.ones(2, 8))
    assert not torch.allclose(mean, torch.ones(2, 8))


def test_nan_names_the_term_the_task_and_the_epoch(compose: Compose, tmp_path: Path) -> None:
    cfg = compose("strategy=finetune", "strategy._target_=tiny.PoisonedFinetune")
    with pytest.raises(TrainingError) as caught:
        experiment.run(cfg, tmp_path)
    message = str(caught.value)
    assert "g/poison is nan in task 1, epoch 2, step 5" in message
    assert f"the last good checkpoint is {tmp_path / 'checkpoints' / 'last.ckpt'}" in message
    assert "\n" not in message
    assert checkpoint.read(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 4


def test_nan_is_noticed_before_a_checkpoint_keeps_it(compose: Compose, tmp_path: Path) -> None:
    cfg = compose("strategy=finetune", "learner.log_every_n_steps=1000", "lr=1e30", "steps_per_epoch=5")
    with pytest.raises(TrainingError, match=r"[gd]/\w+ is (nan|-?inf) in task 0, epoch 0.*no checkpoint yet"):
        experiment.run(cfg, tmp_path)


class SteepFinetune(Strategy):
    """Fine-tuning with a term that is always zero, and whose slope is no number in task 1."""

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        first = next(iter(context.generator.parameters())).flatten()[0]
        zero = (first - first.detach()).sqrt() if context.task.index == 1 else 0 * first
        return {"steep": zero}


def test_a_gradient_that_is_no_number_is_named_while_the_losses_are_still_fine(
    compose: Compose, tmp_path: Path
) -> None:
    cfg = compose("strategy=finetune", "strategy._target_=test_steps.SteepFinetune")
    with pytest.raises(TrainingError, match=r"g/gradient is (inf|nan) in task 1, epoch 2, step 5"):
        experiment.run(cfg, tmp_path)
    state = checkpoint.read(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(value.isfinite().all() for value in state.values())


class TooFast(Strategy):
    """Fine-tuning that fails in task 1 unless the learning rate is low."""

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        rate = FITTED[-1].trainer.optimizers[0].param_groups[0]["lr"]
        failing = context.task.index == 1 and rate > 3e-4
        return {"speed": torch.tensor(float("inf") if failing else 0.0)}


FITTED: list[ACGAN] = []


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tells TooFast which module is being trained."""
    start = ACGAN.on_train_epoch_start

    def noting(self: ACGAN) -> None:
        FITTED.append(self)
        start(self)

    monkeypatch.setattr(ACGAN, "on_train_epoch_start", noting)


@pytest.mark.usefixtures("watched")
def test_a_run_goes_back_with_lower_rates_as_often_as_it_may(
    compose: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    poisoned = ["strategy=finetune", "strategy._target_=test_steps.TooFast", "lr_d=1e-3"]  # lr is 5e-4
    with pytest.raises(TrainingError, match="g/speed is inf"):
        experiment.run(compose(*poisoned), tmp_path / "none")
    experiment.run(compose(*poisoned, "recovery.attempts=2"), tmp_path / "run")
    assert "g/speed is inf in task 1, epoch 2, step 5" in caplog.text
    assert "attempt 1 of 2" in caplog.text and "attempt 2 of 2" not in caplog.text
    rows = [row for row in tiny.csv_rows(tmp_path / "run") if "g/loss" in row]
    assert [int(row["step"]) for row in rows] == list(range(1, 9))
    assert [float(row["lr/g"]) for row in rows] == [5e-4] * 4 + [2.5e-4] * 4
    assert [float(row["lr/d"]) for row in rows] == [1e-3] * 4 + [5e-4] * 4
    saved = checkpoint.read(tmp_path / "run" / "checkpoints" / "last.ckpt")["mergan"]["config"]
    assert saved["recovery"]["used"] == 1  # a continuation keeps the lower rates
    with pytest.raises(TrainingError, match="g/speed is inf"):
        experiment.run(compose(*poisoned, "recovery.attempts=2", "recovery.lr_factor=0.9"), tmp_path / "vain")
    assert "attempt 2 of 2" in caplog.text


class BackwardWatcher(pl.Callback):
    """Counts the backward passes, and whether the gradients were there after each."""

    def __init__(self) -> None:
        self.passes = 0

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert any(parameter.grad is not None for parameter in pl_module.parameters())
        self.passes += 1


def test_a_callback_that_waits_for_backward_passes_gets_them_all_and_changes_nothing(build: Build) -> None:
    watcher = BackwardWatcher()
    watched, alone = build().fit(watcher), build().fit()
    assert watcher.passes == 2 * watched.trainer.global_step > 0
    for mine, other in zip(tiny.weights(watched.module), tiny.weights(alone.module), strict=True):
        assert torch.equal(mine, other)


def test_a_scaled_loss_goes_through_lightning(build: Build) -> None:
    trainer = build().fit().trainer
    assert not takes_part_in_backward(trainer)
    trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    assert takes_part_in_backward(trainer)
