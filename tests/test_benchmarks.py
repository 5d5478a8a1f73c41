"""The benchmarks compare the same arithmetic on both sides. No test here asserts a time."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
import warm
from torch.autograd import DeviceType

from benchmarks import __main__ as command
from benchmarks import breakdown, framework, gpu, growth, loading, plain_steps, quality, reference, roofline
from benchmarks.bare_loop import BareLoop
from benchmarks.fits import Fit
from benchmarks.gpu_plan import Plan
from benchmarks.measure import Figure, Pairs, alternate, seconds
from benchmarks.on_device import OnDevice, covered, summary
from benchmarks.plain_networks import PLAIN, make_plain
from benchmarks.plain_steps import PlainLoop
from benchmarks.plain_v2 import PlainLoop as V2Loop
from mergan.networks import dcgan
from mergan.strategies import Context, Drawn, Strategy

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


@pytest.mark.parametrize("more", [(), ("network=resnet",), ("network.generator.modulation=class_and_z",)])
def test_the_plain_loop_takes_the_same_steps(
    cache_dir: Path, more: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    fast, plain = (Fit((*ONE_TASK, *more), cache_dir) for _ in range(2))
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(torch.float64)
    ends = []
    for fit, kind in ((fast, BareLoop), (plain, PlainLoop)):
        fit.learner.double()
        loop = kind(fit)
        for images, labels in itertools.islice(loop.batches(), 3):
            loop.step(images.double(), labels)
        ends.append([*tiny.weights(fit.learner.generator), *tiny.weights(fit.learner.discriminator)])
    for mine, other in zip(*ends, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)
    kinds = [
        {
            type(module)
            for network in (fit.learner.generator, fit.learner.discriminator)
            for module in network.modules()
        }
        for fit in (fast, plain)
    ]
    assert PLAIN.keys() & kinds[0]
    assert not PLAIN.keys() & kinds[1]


def test_plain_dcgan_trains_as_a_network_of_its_own(cache_dir: Path) -> None:
    parts = [
        f"network.{part.lower()}._target_=benchmarks.plain_dcgan.{part}"
        for part in ("Generator", "Discriminator")
    ]
    fast, plain = (Fit((*tiny.SETTINGS, *more), cache_dir).learner for more in ([], parts))
    assert tiny.equal(tiny.state(fast), tiny.state(plain))
    assert type(fast.generator.convs[-1]) is not type(plain.generator.convs[-1])


def test_what_has_no_plain_form_is_refused() -> None:
    for network in (
        dcgan.Discriminator(2, 1, 16, 2, spectral=True, projection=False),
        dcgan.Generator(4, 2, 1, 16, 2, norm="batch", modulation="class", private_z=0),
    ):
        with pytest.raises(ValueError, match="has no plain form here"):
            make_plain(network)


def test_the_plain_loop_has_the_networks_of_upsample(cache_dir: Path) -> None:
    fit = Fit((*reference.STREAM, "network.generator.width=4", "epochs=1", "debug=smoke"), cache_dir)
    plain = V2Loop(torch.zeros(64, 1, 32, 32, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64), width=4)
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
    loop = V2Loop(images, labels, width=2)
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
    monkeypatch.setattr(reference, "PRECISIONS", {"fp32": reference.PRECISIONS["fp32"]})
    monkeypatch.setattr(plain_steps, "SUBJECTS", {"tiny": (tuple(ONE_TASK), 8)})
    figures = [
        *plain_steps.run(cache_dir, rounds=1),
        *reference.run(cache_dir, steps=8, rounds=1, width=2),
        *framework.run(cache_dir, steps=9, rounds=1),
        *growth.run(cache_dir, tasks=3, steps=6, rounds=1),
        *loading.run(cache_dir, rounds=1, passes=1),
        *roofline.run(cache_dir, steps=6, rounds=1, side=128),  # bf16 is slow where the CPU lacks it
    ]
    assert len(figures) == 1 + 1 + 2 + 2 + 1 + 2
    assert all(0 < figure.low <= figure.reached <= figure.high for figure in figures)
    lines = command.table(figures).splitlines()
    assert len(lines) == 2 + len(figures)
    assert lines[3].startswith("| images/s over the plain loop, fp32 | >= 2.5 x |")


def test_the_quality_of_whole_runs_counts_those_that_reach_it(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "RECIPE", tuple(tiny.SETTINGS))
    monkeypatch.setattr(quality, "LEAST", {"accuracy": 0.0, "coverage": 1.1})
    spent, good, passes = quality.run(cache_dir, ["lr=1e-4"], runs=1, steps=8, width=2)
    assert 0 < spent.reached < 60
    assert good.name == "... reaches accuracy 0, coverage 1.1"
    assert (good.reached, good.met) == (0, False)
    assert passes.reached > 0
    with pytest.raises(subprocess.CalledProcessError):
        quality._figures_of(["no_such_key=1"], cache_dir, cache_dir / "no run")


def test_the_command_writes_table_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    command.main([f"out={tmp_path}", "only=loading", f"threads={threads}"])
    printed = capsys.readouterr().out
    assert (tmp_path / "benchmarks.md").read_text() in printed
    content = json.loads((tmp_path / "benchmarks.json").read_text())
    assert content["machine"]["threads"] == threads
    assert content["figures"][0]["name"] in printed


def test_a_benchmark_that_fails_is_named_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> list[Figure]:
        raise subprocess.CalledProcessError(2, ["python", "train.py", "data.root=a b"])

    monkeypatch.setattr(
        command, "BENCHMARKS", {"good": lambda *_: [Figure("name", "<= 2", 1, 1, 1, "s")], "bad": fails}
    )
    with pytest.raises(SystemExit, match=r"^error: bad: .* 'data.root=a b' ended with status 2$"):
        command.main([f"out={tmp_path}", "only=bad,good", "threads=1"])
    assert "| name | <= 2 s | 1.00 s |" in (tmp_path / "benchmarks.md").read_text()
    with pytest.raises(SystemExit, match=r"^error: only=worse: use some of good,bad$"):
        command.main(["only=worse"])


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


def test_the_benchmark_of_a_gpu_makes_its_table_on_a_cpu(cache_dir: Path) -> None:
    small = ("network.generator.width=2", "network.discriminator.width=2", "batch_size=4")
    plan = Plan("cpu", timed=4, networks=("default", "mnist"), settings=("fp32", "graphs"), overrides=small)
    rows = gpu.run(plan, cache_dir)
    assert [(row.network, row.setting) for row in rows] == [
        (network, setting) for network in plan.networks for setting in plan.settings
    ]
    for row in rows[::2]:
        assert row.found is not None and row.images is not None and not row.remark
        assert row.images * row.found.seconds == pytest.approx(4 * (2 if row.network == "mnist" else 1))
        assert row.cells()[4:] == ["-", "-", "-"]  # no kernels on a CPU
    for row in rows[1::2]:
        assert row.cells()[2:] == ["-", "-", "-", "-", "on a GPU only"]
    text = gpu.report(plan, rows)
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 2 + len(rows)
    assert gpu.run(dataclasses.replace(plan, seconds=-1.0), cache_dir)[0].remark.startswith("left out")


class NotCaptured(Strategy):
    """Fails in the first step, as a network may that cannot be captured."""

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, torch.Tensor]:
        raise RuntimeError("an output was overwritten\nby a later run")


def test_what_cannot_be_measured_on_the_gpu_is_a_remark(cache_dir: Path) -> None:
    faulty = ("strategy=finetune", "strategy._target_=test_benchmarks.NotCaptured")
    row = gpu.measure(Plan("cpu", timed=1, overrides=faulty), "default", "fp32", cache_dir)
    assert row.cells()[2:] == ["-", "-", "-", "-", "no: RuntimeError: an output was overwritten"]


def test_launches_and_idle_time_follow_from_the_events() -> None:
    def event(
        name: str, where: DeviceType, start: float, end: float, marked: bool = False
    ) -> SimpleNamespace:
        span = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(name=name, device_type=where, is_user_annotation=marked, time_range=span)

    cpu, cuda = DeviceType.CPU, DeviceType.CUDA
    events = [
        event("cudaLaunchKernel", cpu, 0, 1), event("cuLaunchKernelEx", cpu, 1, 2),
        event("cudaGraphLaunch", cpu, 2, 3), event("cudaMemcpyAsync", cpu, 3, 4), event("add", cpu, 0, 1),
        event("gemm", cuda, 100, 200), event("Memcpy HtoD", cuda, 150, 250), event("add", cuda, 300, 350),
        event("Optimizer.step#Adam.step", cuda, 0, 1000, marked=True),
    ]  # fmt: skip
    assert summary(0.001, events, steps=2) == OnDevice(0.001, 1.5, pytest.approx(0.9))
    assert summary(0.001, events[:5], steps=2) == OnDevice(0.001)
    assert covered([(5, 6), (0, 4), (1, 2), (3, 5)]) == 6


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        ([], "device=cuda: there is no GPU here"),
        (["device=tpu"], "device=tpu: use device=cuda|cpu"),
        (["networks=v3"], "networks=v3: use some of default,mnist,v2"),
        (["steps=0"], "steps=0: use"),
    ],
)
def test_the_benchmark_of_a_gpu_refuses_in_one_line(words: list[str], culprit: str) -> None:
    if not words and torch.cuda.is_available():
        pytest.skip("there is one")
    done = warm.run(["-m", "benchmarks", "gpu", *words], tiny.ROOT)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(f"error: {culprit}") and done.stderr.count("\n") == 1
