"""Settings that make the networks faster on some devices."""

from __future__ import annotations

from typing import Literal

import lightning.pytorch as pl
import torch

from mergan.learners import ContinualLearner


class Acceleration(pl.Callback):
    """Prepares the networks when the fit begins; the names of parameters and checkpoints do not change.

    Args:
        channels_last: store feature maps in the order N, H, W, C, which tensor cores prefer.
        compile_networks: apply torch.compile in place to generator, snapshot and the other networks that
            are differentiated only once, because compiled code cannot be differentiated twice.
        mode: mode of torch.compile; "reduce-overhead" records CUDA graphs.
        matmul_precision: precision of float32 products: "highest" is float32 itself, "high" allows TF32.
    """

    def __init__(
        self,
        channels_last: bool,
        compile_networks: bool,
        mode: str | None,
        matmul_precision: Literal["highest", "high", "medium"],
    ) -> None:
        self.channels_last = channels_last
        self.compile_networks = compile_networks
        self.mode = mode
        self.matmul_precision = matmul_precision

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepare the networks. They are on their device; no checkpoint has been loaded yet."""
        assert isinstance(pl_module, ContinualLearner)
        torch.set_float32_matmul_precision(self.matmul_precision)
        if self.channels_last:
            # the average in the order of the generator, so that one kernel updates all its weights
            averaged = [] if pl_module.ema is None else [pl_module.ema]
            for network in (pl_module.snapshot, *averaged, *pl_module.networks):
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compile_networks:
            for network in pl_module.compilable:
                network.compile(mode=self.mode)
