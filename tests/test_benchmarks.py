"""The benchmarks compare the same arithmetic on both sides. No test here asserts a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from benchmarks import __main__ as command
from benchmarks import breakdown, framework, growth, loading, reference, roofline
from benchmarks.bare_loop import BareLoop
from benchmarks.fits import Fit
from benchmarks.measure import Figure, Pairs, alternate, seconds
from benchmarks.plain_v2 import PlainLoop

ONE_TASK = [
    *tiny.SETTINGS,
    "scenario.tasks=[[0,1,2,3]]",
    "epochs=2",
    "steps_per_epoch=4",
    "objective.r1=0.1",
    "objective.penalty_every=2",
    "objective.mode_seeking=0.1",
    "learner.ema=0.9",
    "learner.lr_schedule=linear",
]


def test_the_bare_loop_ends_with_the_weights_of_the_fit(cache_dir: Path) -> None:
    fitted, bare = (Fit(ONE_TASK, cache_dir) for _ in range(2))
    fitted.run(skip=1)
    BareLoop(bare).run(8, skip=1)
    for part in ("generator", "discriminator", "ema"):
        assert tiny.equal(
            tiny.state(getattr(fitted.learner, part)), tiny.state(getattr(bare.learner, part))
        ), part


PLAIN_DCGAN = [
    f"network.{part.lower()}._target_=benchmarks.plain_dcgan.{part}"
    for part in ("Generator", "Discriminator")
]


def test_the_plain_dcgan_is_the_same_function(cache_dir: Path) -> None:
    fast, plain = (Fit((*tiny.SETTINGS, *more), cache_dir).learner.double() for more in ([], PLAIN_DCGAN))
    assert tiny.equal(tiny.state(fast), tiny.state(plain))
    assert type(fast.generator.convs[-1]) is not type(plain.generator.convs[-1])
    z, labels = torch.randn(5, fast.latent_dim, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    gradients = []
    for module in (fast, plain):
        images = module.generator(z, labels)
        module.discriminator(images, labels)[0].sum().backward()
        gradients.append([images, *(p.grad for p in module.generator.parameters())])
    torch.testing.assert_close(*gradients)


def test_the_plain_loop_has_the_networks_of_upsample(cache_dir: Path) -> None:
    fit = Fit((*reference.STREAM, "network.generator.width=4", "epochs=1", "debug=smoke"), cache_dir)
    plain = PlainLoop(
        torch.zeros(64, 1, 32, 32, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64), width=4
    )
    for ours, theirs in (
        (fit.learner.generator, plain.generator),
        (fit.learner.discriminator, plain.discriminator),
    ):
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    theirs, ours = plain.generator.eval(), fit.learner.generator.eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    z, labels = torch.randn(5, 100), torch.arange(5)
    torch.testing.assert_close(ours(z, labels), theirs(z, labels), rtol=1e-4, atol=1e-5)


def test_the_plain_loop_learns(cache_dir: Path) -> None:
    labels = torch.arange(64) % 2
    images = (labels * 255).to(torch.uint8)[:, None, None, None].expand(-1, 1, 32, 32).contiguous()
    torch.manual_seed(0)
    loop = PlainLoop(images, labels, width=2)
    loop.run(150, skip=1)
    accuracies = [accuracy for _, _, accuracy in loop.history]
    assert np.mean(accuracies[-20:]) > np.mean(accuracies[:20]) + 0.2


def test_pairs_alternate_and_give_the_ratio_of_the_medians() -> None:
    order: list[str] = []
    sides = {"a": iter([6.0, 2.0, 4.0]), "b": iter([1.0, 2.0, 4.0])}

    def side(name: str) -> float:
        order.append(name)
        return next(sides[name])

    pairs = alternate(lambda: side("a"), lambda: side("b"), 3)
    assert "".join(order) == "abbaab"
    figure = pairs.ratio("name", ">= 2")
    assert (figure.reached, figure.low, figure.high, figure.met) == (2.0, 1.0, 6.0, True)
    assert Pairs([1.0], [1.0]).ratio("name", "<= 0.5").met is False
    assert seconds("name", "", [3.0, 1.0, 2.0]) == Figure("name", "", 2.0, 1.0, 3.0, "s")
    assert seconds("name", "", [1.0]).met is None


def test_every_benchmark_runs_in_small(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LOOKED_AT", (2, 3))
    # each is a process of its own; one shows how, and the settings of the others must exist
    first, *others = growth.STRATEGIES
    for name in others:
        tiny.compose(cache_dir, *growth.STRATEGIES[name])
    monkeypatch.setattr(growth, "STRATEGIES", {first: growth.STRATEGIES[first]})
    figures = [
        *reference.run(cache_dir, steps=8, rounds=1, width=2),
        *framework.run(cache_dir, steps=9, rounds=1),
        *growth.run(cache_dir, tasks=3, steps=6, rounds=1),
        *loading.run(cache_dir, rounds=1, passes=1),
        *roofline.run(cache_dir, steps=6, rounds=1, side=128),  # bf16 is slow where the CPU lacks it
    ]
    assert len(figures) == 2 + 2 + 2 + 1 + 2
    assert all(0 < figure.low <= figure.reached <= figure.high for figure in figures)
    lines = command.table(figures).splitlines()
    assert len(lines) == 2 + len(figures)
    assert lines[2].startswith("| images/s over the plain loop, fp32 | >= 2.5 x |")


def test_the_command_writes_table_and_figures(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", f"out={tmp_path}", "only=loading", "threads=1"],
        cwd=tiny.ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert (tmp_path / "benchmarks.md").read_text() in done.stdout
    content = json.loads((tmp_path / "benchmarks.json").read_text())
    assert content["machine"]["threads"] == 1
    assert content["figures"][0]["name"] in done.stdout


def test_the_breakdown_names_every_kind_of_work(capsys: pytest.CaptureFixture[str]) -> None:
    breakdown.main(ONE_TASK)
    lines = capsys.readouterr().out.splitlines()
    rows = {cells[1].strip(): float(cells[2]) for cells in (line.split("|") for line in lines[2:-2])}
    assert {"convolutions, backward", "convolutions, forward", "optimizers", "normalisation"} <= set(rows)
    whole = float(lines[-1].split()[0])
    assert sum(rows.values()) == pytest.approx(whole, abs=0.01 * len(rows) + 0.05)


def test_the_peak_of_memory_is_not_that_of_the_parent() -> None:
    ballast = torch.ones(2**28)  # 1 GiB, all touched
    command = [sys.executable, "-c", "from benchmarks.growth import peak_memory; print(peak_memory())"]
    done = subprocess.run(command, cwd=tiny.ROOT, check=True, capture_output=True, text=True)
    assert 100 < float(done.stdout) < 1000 < growth.peak_memory()
    del ballast
