"""What `python -m benchmarks gpu` measures: networks, settings, and the words that choose among them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.fits import ONE_TASK

# the second epoch is never reached, see Stopwatch
STREAM = (
    *(ONE_TASK, "epochs=2"),
    *("callbacks.progress.bar=false", "callbacks.heat_maps=null", "logger.tensorboard=null"),
)
NETWORKS = {
    "default": ("data=mnist_5k",),
    "mnist": ("experiment=mnist_retrain_align", "data=mnist_5k"),
    "v2": ("experiment=v2_online_2", "data=mnist_5k"),
    "colour": ("experiment=colour_retrain_align", "data=mnist_5k_photos"),
}
BF16 = "trainer.precision=bf16-mixed"
COMPILED = "callbacks.acceleration.compile_networks=true"
SETTINGS = {  # of trainer=gpu
    "fp32": (),
    "bf16": (BF16,),
    "compiled": (BF16, COMPILED),
    "graphs": (BF16, COMPILED, "callbacks.acceleration.mode=reduce-overhead"),
}
ONLY_CUDA = ("compiled", "graphs")  # compiling for a CPU takes minutes and gains nothing here


@dataclass(frozen=True)
class Plan:
    """How much is measured, and where.

    Attributes:
        device: cuda or cpu.
        timed: steps under the clock.
        seconds: no measurement begins later than this.
        networks: keys of NETWORKS.
        settings: keys of SETTINGS.
        out: folder of the results.
        overrides: further settings of every fit, for the tests.
    """

    device: str = "cuda"
    timed: int = 150
    seconds: float = 240.0
    networks: tuple[str, ...] = tuple(NETWORKS)
    settings: tuple[str, ...] = tuple(SETTINGS)
    out: Path = Path("benchmarks/results")
    overrides: tuple[str, ...] = ()

    @property
    def skip(self) -> int:
        """Steps to warm up; by the 26th, losses have been logged for the first time."""
        return min(30, self.timed)

    @property
    def recorded(self) -> int:
        """Steps under the profiler, enough for a lazy penalty or two."""
        return min(24, self.timed)


def parse(words: list[str]) -> Plan:
    """The plan that key=value words describe. A word that cannot be used ends the process."""
    options: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key == "device" and value in ("cuda", "cpu"):
            options[key] = value
        elif key in ("networks", "settings"):
            options[key] = _chosen(word, value, NETWORKS if key == "networks" else SETTINGS)
        elif key in ("steps", "seconds") and value.isdecimal() and int(value) > 0:
            options["timed" if key == "steps" else key] = int(value)
        elif key == "out" and value:
            options[key] = Path(value)
        else:
            refuse(f"{word}: use device=cuda|cpu, networks=, settings=, steps=, seconds= or out=")
    return Plan(**options)


def _chosen(word: str, value: str, known: Mapping[str, Any]) -> tuple[str, ...]:
    names = tuple(value.split(","))
    if not set(names) <= set(known):
        refuse(f"{word}: use some of {','.join(known)}")
    return names


def refuse(message: str) -> NoReturn:
    """End with one line and exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
