"""How fast training is on a GPU: python -m benchmarks gpu [networks=default,v2] [settings=fp32,bf16]

Prints a table in at most about five minutes. With device=cpu it shows that the command works; what only CUDA
has is then a dash.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.fits import Fit
from benchmarks.gpu_plan import NETWORKS, ONLY_CUDA, SETTINGS, STREAM, Plan, parse, refuse
from benchmarks.on_device import OnDevice, Stopwatch
from benchmarks.reference import plain
from mergan.output import tables
from mergan.system.files import write_text

PLAIN = "plain loop of V2"
EXPLAINED = """\
- images/s: images that the discriminator gets from the data in a second (real ones and replays), in a whole \
fit by Lightning with its logs. The wall clock over {timed} steps, after {skip} to warm up. The device is \
waited for before and after them only.
- settings: those of trainer=gpu, channels-last, reproducible to the bit. fp32: products in TF32. bf16: \
autocast. compiled: bf16, and torch.compile of the networks that are differentiated once. graphs: as \
compiled, with CUDA graphs of these networks (mode=reduce-overhead); the rest of a step (losses, penalties, \
optimizers) is in no graph.
- launches: calls that launch a kernel or a CUDA graph, per step, counted by torch.profiler over {recorded} \
steps.
- idle: share of a step in which the device runs neither a kernel nor a copy: their time under the profiler \
against the time of a step without it.
- {plain}: benchmarks/plain_v2.py, fp32 as PyTorch has it by default, in a process of its own.
"""


@dataclass
class Row:
    """A line of the table.

    Attributes:
        network: a key of NETWORKS, or PLAIN.
        setting: a key of SETTINGS.
        images: per second; None where nothing was measured.
        found: what the stopwatch found; None likewise.
        remark: why nothing was measured.
    """

    network: str
    setting: str
    images: float | None = None
    found: OnDevice | None = None
    remark: str = ""

    def cells(self) -> list[str]:
        """What the table shows."""
        found = self.found or OnDevice(0.0)
        return [
            self.network,
            self.setting,
            "-" if self.images is None else f"{self.images:,.0f}",
            "-" if self.found is None else f"{1000 * found.seconds:.2f}",
            "-" if found.launches is None else f"{found.launches:.0f}",
            "-" if found.idle is None else f"{100 * found.idle:.0f} %",
            self.remark or "-",
        ]


def measure(plan: Plan, network: str, setting: str, cache_dir: Path) -> Row:
    """A fit of a network with a setting."""
    row = Row(network, setting)
    if plan.device != "cuda" and setting in ONLY_CUDA:
        return dataclasses.replace(row, remark="on a GPU only")
    steps = plan.skip + plan.timed + plan.recorded
    accelerator = f"trainer.accelerator={'gpu' if plan.device == 'cuda' else 'cpu'}"
    words = (*NETWORKS[network], *STREAM, f"steps_per_epoch={steps + 1}", "trainer=gpu", accelerator)
    # what was compiled of earlier networks counts against the limit of this one
    torch.compiler.reset()
    watch = Stopwatch(plan.skip, plan.timed, plan.recorded)
    try:
        fit = Fit((*words, *SETTINGS[setting], *plan.overrides), cache_dir, [watch])
        fit.run(plan.skip)
    except RuntimeError as error:  # of the compiler, of a capture, or of the memory of the device
        return dataclasses.replace(
            row, remark=f"no: {type(error).__name__}: {str(error).splitlines()[0][:80]}"
        )
    assert watch.found is not None
    images = fit.cfg.batch_size * fit.learner.batches_per_step / watch.found.seconds
    return dataclasses.replace(row, images=images, found=watch.found)


def measure_plain(plan: Plan, cache_dir: Path) -> Row:
    """V2's loop in plain PyTorch on the same images."""
    fit = Fit((*NETWORKS["v2"], *STREAM, "trainer.accelerator=cpu", *plan.overrides), cache_dir)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        fit.save_images(images)
        width = fit.cfg.network.generator.width
        seconds = plain(images, width, max(10, plan.timed), plan.device)
    return Row(PLAIN, "fp32", fit.cfg.batch_size / seconds, OnDevice(seconds))


def run(plan: Plan, cache_dir: Path) -> list[Row]:
    """All rows, the quick ones first, so that those that compile are left out where time is short."""
    begun, rows = time.monotonic(), []
    wanted = [(network, setting) for setting in plan.settings for network in plan.networks]
    if "v2" in plan.networks and "fp32" in plan.settings:
        wanted.insert(0, (PLAIN, "fp32"))
    for network, setting in wanted:
        print(f"{network}, {setting} ...", file=sys.stderr, flush=True)
        if time.monotonic() - begun > plan.seconds:
            rows.append(Row(network, setting, remark=f"left out: {plan.seconds:.0f} s were over"))
        elif network == PLAIN:
            rows.append(measure_plain(plan, cache_dir))
        else:
            rows.append(measure(plan, network, setting, cache_dir))
    order = [PLAIN, *plan.networks]
    return sorted(rows, key=lambda row: order.index(row.network))


def report(plan: Plan, rows: list[Row]) -> str:
    """The table, what it was measured on, and how."""
    columns = ["network", "setting", "images/s", "ms per step", "launches", "idle", "remark"]
    name = "CPU"
    if plan.device == "cuda":
        name = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    facts = f"{name}, PyTorch {torch.__version__}"
    how = EXPLAINED.format(timed=plan.timed, skip=plan.skip, recorded=plan.recorded, plain=PLAIN)
    return f"{tables.markdown(columns, [row.cells() for row in rows])}\n\n{facts}\n\n{how}"


def main(words: list[str]) -> None:
    """Measure, print the table, write it as Markdown and JSON."""
    plan = parse(words)
    if plan.device == "cuda" and not torch.cuda.is_available():
        refuse("device=cuda: there is no GPU here; device=cpu tries the command without one")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    with tempfile.TemporaryDirectory() as folder:
        rows = run(plan, Path(folder))
    text = report(plan, rows)
    plan.out.mkdir(parents=True, exist_ok=True)
    write_text(plan.out / "gpu.md", text)
    write_text(plan.out / "gpu.json", json.dumps([dataclasses.asdict(row) for row in rows], indent=2) + "\n")
    print(text)
