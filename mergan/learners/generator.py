"""The generator of a learner and its two copies: the frozen snapshot and the moving average."""

from __future__ import annotations

import copy
from typing import Self

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from mergan.config.ranges import Fraction
from mergan.learners.averaging import MovingAverage
from mergan.strategies import Strategy


class SampledGenerator(pl.LightningModule):
    """A generator in training, its copies, and the images that it generates.

    The copies are submodules from the start, so they are moved, saved and loaded with the rest.

    Args:
        generator: see mergan.networks.
        strategy: may change how images are sampled.
        ema: decay of an exponential moving average of the weights, or null. If set, the snapshot, the
            evaluation and the sampling use the averaged generator. The strategies' losses still act on the
            generator in training.

    Attributes:
        snapshot: a frozen copy of the generator at the end of the last task, in eval mode.
        ema: the moving average, or None.
    """

    def __init__(self, generator: nn.Module, strategy: Strategy, ema: Fraction | None) -> None:
        super().__init__()
        self.generator = generator
        self.strategy = strategy
        self.snapshot = copy.deepcopy(generator).eval().requires_grad_(False)
        self.ema = None if ema is None else MovingAverage(generator, ema)

    @property
    def sampler(self) -> nn.Module:
        """The generator that snapshot, evaluation and sampling use: the averaged one if there is one."""
        return self.generator if self.ema is None else self.ema.module

    @torch.no_grad()
    def generate(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1], generated in eval mode."""
        sampler = self.sampler
        training = sampler.training
        sampler.eval()
        images = self.strategy.generate(sampler, z.to(self.device), labels.to(self.device)).float()
        sampler.train(training)
        return images

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the networks; the snapshot and the moving average stay in eval mode."""
        super().train(mode)
        self.snapshot.eval()
        if self.ema is not None:
            self.ema.eval()
        return self

    def average(self) -> None:
        """Update the moving average, if there is one, with the current generator."""
        if self.ema is not None:
            self.ema.update_parameters(self.generator)

    def take_snapshot(self) -> None:
        """Make the trained generator the snapshot."""
        self.snapshot.load_state_dict(self.sampler.state_dict())
