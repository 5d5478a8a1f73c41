"""The least that Lightning needs for two optimizers by hand: what its own machinery costs, and no more."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.fits import Clock


class MinimalGAN(pl.LightningModule):
    """Non-saturating GAN steps on the networks of the project."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, latent_dim: int, classes: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = generator, discriminator
        self.latent_dim, self.classes = latent_dim, classes

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        networks = (self.generator, self.discriminator)
        return [torch.optim.Adam(network.parameters(), lr=1e-3, fused=True) for network in networks]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        asked = torch.randint(self.classes, (len(images),))
        fakes = self.generator(torch.randn(len(images), self.latent_dim), asked)
        loss = nn.functional.softplus(-self.discriminator(fakes, asked)[0]).mean()
        optimizer_g.zero_grad()
        self.manual_backward(loss)
        optimizer_g.step()
        real, fake = self.discriminator(images, labels)[0], self.discriminator(fakes.detach(), asked)[0]
        loss = nn.functional.softplus(-real).mean() + nn.functional.softplus(fake).mean()
        optimizer_d.zero_grad()
        self.manual_backward(loss)
        optimizer_d.step()


def run(module: MinimalGAN, images: Tensor, labels: Tensor, batch_size: int, steps: int) -> float:
    """Train for `steps` steps on float images; returns seconds per step."""
    clock = Clock()
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=2 * steps,
        enable_model_summary=False,
        callbacks=[clock],
        **options,
    )
    loader = DataLoader(TensorDataset(images, labels), batch_size=batch_size, shuffle=True, drop_last=True)
    trainer.fit(module, loader)
    skip = 5
    return (clock.end - clock.step_ends[skip - 1]) / (len(clock.step_ends) - skip)
