"""6: floating-point operations of a step over its time, as a share of what a large matrix product reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.bare_loop import BareLoop
from benchmarks.fits import ONE_TASK, Fit
from benchmarks.measure import Figure, alternate

SIDE = 2048


class Operations(TorchDispatchMode):
    """Counts floating-point operations by the formulas of torch.utils.flop_counter.

    FlopCounterMode itself also follows the modules, with hooks that a penalty on gradients breaks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def product_rate(dtype: torch.dtype, side: int) -> float:
    """Operations per second of a product of square matrices."""
    from torch.utils.benchmark import Timer  # it looks for CUDA, and complains where there is none

    a = torch.randn(side, side, dtype=dtype)
    time = Timer("a @ a", globals={"a": a}, num_threads=torch.get_num_threads()).timeit(5)
    return 2 * side**3 / time.median


def run(cache_dir: Path, steps: int = 104, rounds: int = 5, side: int = SIDE) -> list[Figure]:
    """The default network, fp32 and bf16; the product is of matrices side x side."""
    figures = []
    stream = (ONE_TASK, "epochs=1", f"steps_per_epoch={steps}")
    for dtype, target in ((torch.float32, ">= 60"), (torch.bfloat16, "")):
        cast = torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16)
        period = Fit(stream, cache_dir).learner.objective.penalty_every
        with Operations() as counter, cast:
            BareLoop(Fit(stream, cache_dir)).run(period, skip=0)
        operations = counter.total / period

        def step_rate(cast: torch.autocast = cast, operations: float = operations) -> float:
            with cast:
                return operations / BareLoop(Fit(stream, cache_dir)).run(steps, skip=4)

        pairs = alternate(step_rate, lambda dtype=dtype: product_rate(dtype, side), rounds)  # type: ignore[misc]
        figure = pairs.ratio(f"share of the matrix-product rate, {dtype}".replace("torch.", ""), target)
        figure.reached, figure.low, figure.high = (
            100 * part for part in (figure.reached, figure.low, figure.high)
        )
        figure.unit = "%"
        figure.details |= {"operations per step": operations, "unit": "operations per second: step, product"}
        figures.append(figure)
    return figures
