"""Where the time of a training step goes: python -m benchmarks.breakdown [overrides for train.py]

Runs the optimisation steps of the first task in a bare loop, under PyTorch's profiler, with one thread, and
prints a Markdown table. The profiler itself makes the many small operations look longer than they are; what
a step takes without it stands below the table.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.bare_loop import BareLoop
from benchmarks.fits import ONE_TASK, Fit
from mergan.output import tables

STEPS = 40
KINDS = {  # what a name contains -> the line it counts for; the first that fits
    "convolution_backward": "convolutions, backward",
    "convolution": "convolutions, forward",
    "ThinConvolution": "convolutions, forward",
    "PairProducts": "up-sampling convolution, without its products",
    "mm": "matrix products",
    "im2col": "patches of thin convolutions (fold, unfold)",
    "col2im": "patches of thin convolutions (fold, unfold)",
    "norm": "normalisation",
    "Optimizer": "optimizers",
    "adam": "optimizers",
    "lerp": "average of the generator's weights",
    "leaky_relu": "activations",
    "threshold": "activations",
    "clamp_min": "activations",
    "tanh": "activations",
    "copy_": "copies and changes of layout",
    "clone": "copies and changes of layout",
    "autograd::": "autograd's own work",
}


def kind(name: str) -> str:
    """The line of the table that an operation counts for."""
    return next((line for part, line in KINDS.items() if part in name), "small operations")


def main(overrides: list[str]) -> None:
    """Profile and print."""
    torch.set_num_threads(1)
    stream = (ONE_TASK, "epochs=1", f"steps_per_epoch={2 * STEPS + 4}")
    with tempfile.TemporaryDirectory() as folder:
        loop = BareLoop(Fit((*stream, *overrides), Path(folder)))
    alone = min(loop.run(STEPS, skip=4) for _ in range(5))
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        loop.run(STEPS, skip=0)
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in recorded.key_averages():
        spent[kind(event.key)] += event.self_cpu_time_total / 1000 / STEPS
        calls[kind(event.key)] += event.count / STEPS
    whole = sum(spent.values())
    rows = [
        [name, f"{time:.2f}", f"{100 * time / whole:.0f} %", f"{calls[name]:.0f}"]
        for name, time in spent.most_common()
    ]
    print(tables.markdown(["work", "ms per step", "share", "calls"], rows))
    print(f"\n{whole:.1f} ms per step under the profiler, {1000 * alone:.1f} ms without.")


if __name__ == "__main__":
    main(sys.argv[1:])
