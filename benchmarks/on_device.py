"""What a few steps of a fit do on their device: time per step, launches, and how long the device is busy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

LAUNCHES = ("LaunchKernel", "GraphLaunch")  # in the names of the CUDA calls; a whole graph is one launch


class Recorded(Protocol):
    """What is used of torch.profiler's events."""

    name: str
    device_type: DeviceType
    is_user_annotation: bool
    time_range: Any  # start and end in microseconds


@dataclass
class OnDevice:
    """What was measured.

    Attributes:
        seconds: per step, without the profiler.
        launches: of kernels and CUDA graphs, per step; None where there are none.
        idle: share of a step in which no kernel and no copy runs, 0 to 1; None likewise.
    """

    seconds: float
    launches: float | None = None
    idle: float | None = None


class Stopwatch(pl.Callback):
    """Times steps, records further ones with the profiler, and then ends the fit.

    The epoch must have more steps than all of these, and the task a second epoch: at the end of a task the
    generator would be measured, which takes longer than the steps.

    Args:
        skip: steps before the clock starts: compilation, and the first losses to be logged.
        timed: steps under the clock. It looks at the device before the first and after the last one only.
        recorded: steps under the profiler.
    """

    def __init__(self, skip: int, timed: int, recorded: int) -> None:
        self.ends = (skip, skip + timed, skip + timed + recorded)
        self.timed, self.recorded = timed, recorded
        self.found: OnDevice | None = None
        self._begun = self._seconds = 0.0
        self._profile: profile | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Go on to the next part, or end the fit."""
        if batch_idx + 1 not in self.ends:
            return
        cuda = pl_module.device.type == "cuda"
        if cuda:
            torch.cuda.synchronize(pl_module.device)
        now = time.perf_counter()
        part = self.ends.index(batch_idx + 1)
        if part == 0:
            self._begun = now
        elif part == 1:
            self._seconds = (now - self._begun) / self.timed
            self._profile = profile(
                activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
            )
            self._profile.start()
        elif self._profile is not None:
            self._profile.stop()
            self.found = summary(self._seconds, self._profile.events() or [], self.recorded)
            self._profile = None
            trainer.should_stop = True


def summary(seconds: float, events: Iterable[Recorded], steps: int) -> OnDevice:
    """What the events of `steps` steps say, for steps of `seconds`.

    The profiler makes the CPU slower, but not the kernels. So the time of the kernels is held against a step
    without the profiler.
    """
    events = list(events)
    on_device = [event for event in events if event.device_type == DeviceType.CUDA]
    # ranges that a program marks, as an optimizer its step, are no work
    work = [event.time_range for event in on_device if not event.is_user_annotation]
    if not work:
        return OnDevice(seconds)
    calls = [event for event in events if event.device_type == DeviceType.CPU]
    launches = sum(any(word in event.name for word in LAUNCHES) for event in calls)
    busy = covered([(span.start, span.end) for span in work]) / steps
    return OnDevice(seconds, launches / steps, max(0.0, 1 - busy / (1e6 * seconds)))


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length that spans (start, end) cover together; where they overlap, it counts once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
