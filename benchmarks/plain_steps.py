"""The steps of a fit beside a plain PyTorch loop with the same networks, losses and batches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.bare_loop import BareLoop
from benchmarks.fits import FIRST_LOG, ONE_TASK, Fit
from benchmarks.framework import fit_beside, step_of
from benchmarks.measure import Figure, Pairs
from benchmarks.plain_networks import make_plain
from mergan import config

COLOUR = ("experiment=colour_joint", ONE_TASK)
SYNTHETIC = (ONE_TASK, "data=synthetic", "data.channels=3")
RESNET = "network=resnet"
# overrides, and steps of a measurement, which is a task with its end: with few steps the end weighs too much
SUBJECTS = {
    "dcgan, grey, 32 pixels": ((ONE_TASK,), 500),
    "dcgan, colour, 32 pixels": (COLOUR, 300),
    "resnet, colour, 32 pixels": ((*COLOUR, RESNET), 100),
    "resnet, colour, 64 pixels": ((*SYNTHETIC, RESNET, "data.image_size=64"), 60),
}


class PlainLoop(BareLoop):
    """BareLoop without anything that this project does for speed: plain layers, PyTorch's Adam as it comes.

    Args:
        fit: whose parts are used, before they are trained.
    """

    def __init__(self, fit: Fit) -> None:
        learner = fit.learner
        rates = ((learner.generator, learner.lr), (learner.discriminator, learner.lr_d))
        for network, _ in rates:
            make_plain(network)
        super().__init__(fit)
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(network.parameters(), lr=lr, betas=learner.betas)  # type: ignore[arg-type]
            for network, lr in rates
        )


class PlainProcess:
    """A PlainLoop in a process of its own, whose memory this project has not tuned. It steps when told to.

    Args:
        stream: overrides of the configuration.
        cache_dir: for decoded images.
    """

    def __init__(self, stream: Sequence[str], cache_dir: Path) -> None:
        arguments = [str(torch.get_num_threads()), str(cache_dir), *stream]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.plain_steps", *arguments],
            cwd=config.CONF.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.step()

    def step(self) -> float:
        """Take a step; returns its seconds, fetching the batch included."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def run(cache_dir: Path, rounds: int = 3) -> list[Figure]:
    """Steps per second of a fit over those of the plain loop, which takes a step after every step of the fit.

    Args:
        cache_dir: for decoded images.
        rounds: measurements of each subject.
    """
    figures = []
    for name, (overrides, steps) in SUBJECTS.items():
        stream = (*overrides, "epochs=2", f"steps_per_epoch={steps // 2}")
        fits, plains = [], []
        for _ in range(rounds):
            process = PlainProcess(stream, cache_dir)
            fit, plain = fit_beside(process.step, stream, cache_dir, min(FIRST_LOG, steps // 2))
            process.close()
            fits.append(fit)
            plains.append(plain)
        figures.append(Pairs(plains, fits).ratio(f"steps/s over a plain loop: {name}", ">= 1.3"))
    return figures


def main(threads: str, cache_dir: str, *stream: str) -> None:
    """Be the process of a PlainProcess."""
    torch.set_num_threads(int(threads))
    step = step_of(PlainLoop(Fit(stream, Path(cache_dir))))
    for _ in sys.stdin:
        print(step(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
