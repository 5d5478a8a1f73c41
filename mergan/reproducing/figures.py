"""How the figures of runs stand in a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mergan.reporting import statistics
from mergan.reporting.groups import Setting
from mergan.reporting.runs import Run
from mergan.system.text import shown


@dataclass(frozen=True)
class Shown:
    """How a figure is shown.

    Attributes:
        heading: the heading of its column, with the unit.
        factor: what the figure is multiplied by.
        decimals: decimals of the product.
        spread: whether the standard deviation over the runs is shown; it is left out of costs.
    """

    heading: str
    factor: float = 1.0
    decimals: int = 2
    spread: bool = True

    def number(self, value: float) -> str:
        """A value of the figure."""
        return f"{self.factor * value:z.{self.decimals}f}"  # z: no minus before 0


SHOWN = {  # by name in metrics.json; the last one is from provenance.json
    "accuracy": Shown("accuracy %", 100, 1),
    "reverse_accuracy": Shown("reverse accuracy %", 100, 1),
    "precision": Shown("precision"),
    "recall": Shown("recall"),
    "density": Shown("density"),
    "coverage": Shown("coverage"),
    "coverage_random": Shown("coverage random"),
    "coverage_pixels": Shown("coverage pixels"),
    "fid": Shown("FID", 1, 1),
    "kid": Shown("KID", 1, 1),
    "forgetting": Shown("forgetting %", 100, 1),
    "recall_forgetting": Shown("forgetting of recall"),
    "coverage_forgetting": Shown("forgetting of coverage"),
    "accuracy_learned": Shown("learning accuracy %", 100, 1),
    "accuracy_stream": Shown("accuracy over the stream %", 100, 1),
    "accuracy_backward_transfer": Shown("backward transfer %", 100, 1),
    "judge_accuracy": Shown("judge on real %", 100, 1, spread=False),
    "images_seen_g": Shown("images seen by G, thousands", 1e-3, 0, spread=False),
    "images_seen_d": Shown("images seen by D, thousands", 1e-3, 0, spread=False),
    "updates_g": Shown("updates of G", 1, 0, spread=False),
    "updates_d": Shown("updates of D", 1, 0, spread=False),
    "train_seconds": Shown("training, minutes", 1 / 60, 1, spread=False),
    "bytes_kept": Shown("kept, MB", 1e-6, 2, spread=False),
    "peak_memory_bytes": Shown("peak memory, GB", 1e-9, 2, spread=False),
}
PEAK = "peak_memory_bytes"
NONE = "-"


def with_costs(run: Run) -> Mapping[str, float | str]:
    """The figures of a run, with its peak of memory if it is known."""
    return run.figures if run.peak_memory is None else {**run.figures, PEAK: run.peak_memory}


def values(key: str, runs: Sequence[Run]) -> list[float]:
    """A figure of every run that has it."""
    found = (with_costs(run).get(key) for run in runs)
    return [float(value) for value in found if isinstance(value, (int, float))]


def cell(key: str, runs: Sequence[Run]) -> str:
    """A figure over the runs of a row: the mean and the standard deviation (n - 1)."""
    found, style = statistics.moments(values(key, runs)), SHOWN[key]
    if found is None:
        return NONE
    if found.deviation is None or not style.spread:
        return style.number(found.mean)
    return f"{style.number(found.mean)} ± {style.factor * found.deviation:.{style.decimals}f}"


def difference(key: str, one: Setting, other: Setting) -> str:
    """A figure of `other` minus that of `one`: mean over common seeds, and the interval of the mean."""
    found, style = statistics.difference(one, other, key), SHOWN[key]
    if found is None:
        return NONE
    if found.low is None or found.high is None:
        return style.number(found.mean)
    return f"{style.number(found.mean)} [{style.number(found.low)}, {style.number(found.high)}]"


def made_with(runs: Sequence[Run]) -> str:
    """A sentence on what some runs were made with, and how many of them say so; empty if none does."""
    sessions = [session for run in runs for session in run.sessions]
    telling = sum(bool(run.sessions) for run in runs)
    if not telling:
        return ""

    def each(key: str) -> str:
        return ", ".join(dict.fromkeys(shown(str(session.get(key))) for session in sessions))

    packages = [found for session in sessions if isinstance(found := session.get("packages"), dict)]
    torch = ", ".join(dict.fromkeys(str(found.get("torch")) for found in packages))
    which = "" if telling == len(runs) else f"{telling} of {len(runs)} runs: "
    return (
        f"{which}mergan {each('mergan')} at commit {each('commit')}, PyTorch {torch}, {each('device')}, "
        f"{each('processor')}, threads: {each('threads')}."
    )
