"""Weights that all classes share may learn more slowly than those of single classes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import tiny
import torch
from torch import Tensor, nn

from mergan.checkpoints import file as checkpoint
from mergan.learners.slowing import slowed
from mergan.networks.layers import ClassTable, shared_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.ModuleDict({"table": ClassTable(2, 5), "norm": nn.LayerNorm(3)}))


def test_weights_of_single_classes_are_not_shared() -> None:
    module = network()
    names = {id(weight): name for name, weight in module.named_parameters()}
    assert [names[id(weight)] for weight in shared_weights(module)] == [
        "0.weight",
        "0.bias",
        "1.norm.weight",
        "1.norm.bias",
    ]


def test_a_slowed_step_is_that_of_a_lower_rate() -> None:
    """With Adam, from whose moments nothing is taken away."""
    slow, split = nn.Linear(4, 3, dtype=torch.float64), nn.Linear(4, 3, dtype=torch.float64)
    split.load_state_dict(slow.state_dict())
    one = torch.optim.Adam(slow.parameters(), lr=0.1)
    two = torch.optim.Adam([{"params": [split.weight], "lr": 0.03}, {"params": [split.bias]}], lr=0.1)
    x = torch.randn(8, 4, dtype=torch.float64)
    for _ in range(5):
        for module, optimizer in ((slow, one), (split, two)):
            optimizer.zero_grad()
            module(x).square().sum().backward()
        slowed(one.step, [slow.weight], 0.3)()
        two.step()
        torch.testing.assert_close(slow.weight, split.weight)
        torch.testing.assert_close(slow.bias, split.bias)


def weights_after_each_task(run: tiny.Run) -> list[dict[str, Tensor]]:
    run.fit()
    return [
        {
            name.removeprefix("generator."): weight
            for name, weight in checkpoint.read(run.folder / "checkpoints" / file)["state_dict"].items()
            if name.startswith("generator.")
        }
        for file in ("task_00.ckpt", "task_01.ckpt")
    ]


@pytest.mark.parametrize("learner", ["acgan", "cvae"])
def test_from_the_second_task_on_shared_weights_can_be_held(
    build: Callable[..., tiny.Run], learner: str
) -> None:
    run = build(f"learner={learner}", "strategy=replay_alignment", "learner.shared_rate=0")
    tables = {
        f"{name}.weight"
        for name, module in run.module.generator.named_modules()
        if type(module) is ClassTable
    }
    initial = copy.deepcopy(run.module.generator.state_dict())
    first, second = weights_after_each_task(run)
    assert tables and first.keys() == second.keys() > tables
    for name in first.keys() - tables:
        assert not torch.equal(initial[name], first[name]), name  # the first task learns at the full rate
        assert torch.equal(first[name], second[name]), name
    assert all(not torch.equal(first[name], second[name]) for name in tables)
