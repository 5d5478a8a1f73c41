"""EWC and MAS: what they find important, what the generator pays, and that it is thereby held."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from omegaconf import DictConfig
from tiny import context, strategy_of, tasks
from torch import Tensor, nn

from mergan.checkpoints import file as checkpoint
from mergan.networks.layers import ClassTable
from mergan.run import experiment
from mergan.strategies import Context
from mergan.strategies.importance import ImportancePenalty
from mergan.system.errors import ConfigError

PIXELS = 2 * 2
BOTH = pytest.mark.parametrize("kind", ["ewc", "mas"])


class Linear(nn.Module):
    """x = A z + b[c], images of 2x2 pixels: its Jacobian is known."""

    def __init__(self, latent_dim: int = 3, num_classes: int = 4) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.full((PIXELS, latent_dim), 0.5))
        self.table = ClassTable(num_classes, PIXELS)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return (z @ self.matrix.T + self.table(labels)).unflatten(1, (1, 2, 2))


def linear_context(task: int = 0, **changes: Any) -> Context:
    """The context of a task of one class, of four, with a linear generator that is its own snapshot."""
    torch.manual_seed(0)
    generator = Linear()
    snapshot = copy.deepcopy(generator).eval().requires_grad_(False)
    settings = {"generator": generator, "snapshot": snapshot, "latent_dim": 3} | changes
    return context(tasks([0], [1], [2], [3])[task], **settings)


def measured(strategy: ImportancePenalty, setting: Context) -> tuple[Tensor, Tensor]:
    """Importance of matrix and table after a task."""
    if not hasattr(strategy, "importance"):
        strategy.build(setting.generator, 4, 1, 2)
    strategy.end_task(setting)
    matrix, table = strategy.importance.split([PIXELS * 3, 4 * PIXELS])
    return matrix, table.view(4, PIXELS)


def test_fisher_information_is_the_squared_jacobian_of_the_picture() -> None:
    # dx_i / dA_ij = z_j with E[z_j^2] = 1 and dx_i / db_i = 1, each in one of four pixels
    matrix, table = measured(strategy_of("ewc", samples=4000), linear_context())
    assert matrix.tolist() == pytest.approx([1 / PIXELS] * 12, rel=0.2)
    assert table[0].tolist() == pytest.approx([1 / PIXELS] * 4, rel=0.2)
    assert matrix.mean().item() == pytest.approx(1 / PIXELS, rel=0.05)
    assert table[1:].abs().max() == 0  # no picture of class 0 depends on the other classes


def test_mas_takes_the_slope_of_the_squared_norm_of_every_picture_by_itself() -> None:
    setting = linear_context()
    with torch.no_grad():
        setting.snapshot.matrix.zero_()  # type: ignore[union-attr,operator]
    # without z the picture is b: |d (b^2 / P) / db| = 2 |b| / P
    _, table = measured(strategy_of("mas", samples=3), setting)
    expected = 2 * setting.snapshot.table.weight[0].abs() / PIXELS  # type: ignore[union-attr,index,operator]
    assert torch.allclose(table[0], expected)
    assert table[1:].abs().max() == 0
    # with b = 0 the slopes 2 (a . z) / P cancel on average; their sizes do not: E|a . z| = |a| sqrt(2 / pi)
    setting = linear_context()
    with torch.no_grad():
        setting.snapshot.table.weight.zero_()  # type: ignore[union-attr,operator]
    _, table = measured(strategy_of("mas", samples=4000), setting)
    mean_size = 2 / PIXELS * math.sqrt(3 * 0.25) * math.sqrt(2 / math.pi)
    assert table[0].tolist() == pytest.approx([mean_size] * 4, rel=0.1)


@BOTH
def test_importance_adds_up_over_the_classes_and_decays(kind: str) -> None:
    first, second = linear_context(0), linear_context(1)
    alone = (
        measured(strategy_of(kind, samples=16), first)[0],
        measured(strategy_of(kind, samples=16), second)[0],
    )
    for decay in (1.0, 0.25):
        strategy = strategy_of(kind, samples=16, decay=decay)
        measured(strategy, first)
        matrix, _ = measured(strategy, second)
        assert torch.allclose(matrix, decay * alone[0] + alone[1])
        assert strategy.classes_measured == 2
    # two classes of one task count as much as two tasks of one class
    strategy = strategy_of("ewc", samples=8000)
    matrix, table = measured(strategy, _joined())
    assert matrix.mean().item() == pytest.approx(2 / PIXELS, rel=0.05)
    assert (table.abs().sum(dim=1) > 0).tolist() == [True, True, False, False]


def _joined() -> Context:
    setting = linear_context()
    setting.task = tasks([0, 1])[0]
    return setting


@BOTH
def test_penalty_is_the_weighed_square_of_the_distance_to_the_snapshot(kind: str) -> None:
    setting = linear_context(1)
    strategy = strategy_of(kind, weight=6.0, samples=16)
    measured(strategy, linear_context(0))
    assert strategy.generator_terms(setting, tiny.NOTHING)["importance"].item() == 0
    moves = torch.randn(PIXELS * 3 + 4 * PIXELS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        setting.generator.matrix.add_(moves[:12].view(4, 3))  # type: ignore[union-attr,operator]
        setting.generator.table.weight.add_(moves[12:].view(4, 4))  # type: ignore[union-attr,operator]
    (value,) = strategy.generator_terms(setting, tiny.NOTHING).values()
    assert value.item() == pytest.approx((3.0 * (strategy.importance * moves**2).sum()).item(), rel=1e-4)
    value.backward()
    gradient = torch.cat([p.grad.flatten() for p in setting.generator.parameters()])  # type: ignore[union-attr]
    assert torch.allclose(gradient, 6.0 * strategy.importance * moves, rtol=1e-3, atol=1e-6)
    assert gradient[-PIXELS:].abs().max() == 0  # the row of a class to come is free
    assert strategy.generator_terms(linear_context(0), tiny.NOTHING) == {}


@BOTH
def test_divided_weight_falls_with_the_number_of_past_classes(kind: str) -> None:
    def penalty(task: int, divide: bool) -> float:
        setting = linear_context(task)
        strategy = strategy_of(kind, weight=6.0, samples=16, divide_by_classes=divide)
        measured(strategy, linear_context(0))
        with torch.no_grad():
            setting.generator.matrix.add_(1.0)  # type: ignore[union-attr,operator]
        return strategy.generator_terms(setting, tiny.NOTHING)["importance"].item()

    assert penalty(1, True) == penalty(1, False) > 0
    assert penalty(3, True) == pytest.approx(penalty(3, False) / 3)


@BOTH
def test_importance_depends_on_snapshot_seed_and_task_alone(kind: str) -> None:
    def importance(**changes: Any) -> Tensor:
        torch.seed()
        setting = context(tasks([0, 1], [2])[0], **changes)
        strategy = strategy_of(kind, samples=6)
        strategy.build(setting.generator, 4, 1, 16)
        strategy.end_task(setting)
        assert all(parameter.grad is None for parameter in setting.generator.parameters())
        return strategy.importance

    first = importance()
    assert first.min() >= 0 and first.max() > 0
    assert torch.equal(first, importance(rng=torch.Generator().manual_seed(9)))
    assert not torch.equal(first, importance(seed=1))


@pytest.mark.parametrize("strategy", ["ewc", "mas"])
def test_important_weights_are_held_and_the_memory_stays_flat(
    build: Callable[..., tiny.Run], strategy: str
) -> None:
    stream = ["scenario.tasks=[[0],[1],[2]]", "epochs=[1,2,2]", "steps_per_epoch=10", "lr=0.003"]

    def strayed(weight: str) -> tuple[float, list[torch.Size]]:
        run = build(f"strategy={strategy}", f"strategy.weight={weight}", "strategy.samples=16", *stream)
        module = run.module
        assert isinstance(module.strategy, ImportancePenalty)
        shapes = [value.shape for value in module.strategy.state_dict().values()]
        original, distances = module.strategy.end_task, []

        def measuring(context: Context) -> None:
            # theta* of the task that ends is the snapshot of the one before, which is gone by now
            if context.task.past:
                distances.append(module.last_losses["g/importance"])
            original(context)

        module.strategy.end_task = measuring  # type: ignore[method-assign]
        run.fit()
        assert module.strategy.classes_measured == 3
        assert [value.shape for value in module.strategy.state_dict().values()] == shapes
        return sum(distances) / float(weight), shapes

    loose, _ = strayed("1e-6")
    held, _ = strayed("1e4")
    assert 0 < held < loose / 20


@pytest.mark.parametrize("strategy", ["ewc", "mas"])
def test_classes_of_init_from_are_measured_before_the_first_step(
    compose: Callable[..., DictConfig], tmp_path: Path, strategy: str
) -> None:
    experiment.run(compose("strategy=finetune", "scenario.tasks=[[0,1]]", "epochs=1"), tmp_path / "old")
    path = tmp_path / "old" / "checkpoints" / "last.ckpt"
    stream = ["data.num_classes=5", "scenario.tasks=[[4],[2]]", "epochs=1", "strategy.samples=8"]
    experiment.run(compose(f"strategy={strategy}", f"init_from={path}", *stream), tmp_path / "new")
    for name, classes in (("task_00.ckpt", 3), ("last.ckpt", 4)):
        state = checkpoint.read(tmp_path / "new" / "checkpoints" / name)["state_dict"]
        assert state["strategy.classes_measured"] == classes
    rows = [row for row in tiny.csv_rows(tmp_path / "new") if "g/importance" in row]
    assert float(rows[0]["g/importance"]) == 0  # at the snapshot
    assert float(rows[1]["g/importance"]) > 0


@BOTH
@pytest.mark.parametrize(
    "wrong", [{"weight": -1.0}, {"weight": math.nan}, {"samples": 0}, {"decay": 1.5}, {"decay": -0.1}]
)
def test_arguments_out_of_range_are_refused_by_name(kind: str, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"strategy\.{name}="):
        strategy_of(kind, **wrong)
