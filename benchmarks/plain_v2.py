"""MeRGAN-V2's training as a plain PyTorch loop, the reference of `make benchmark`.

Networks and losses are V2's, those that `network=upsample objective=bce` re-implements, written down
once more in the plainest way: up-sampling and convolution apart, a DataLoader that fetches sample by
sample, three figures read back in every step. It knows nothing of mergan, whose settings of the process
would make it faster as well:

    python -m benchmarks.plain_v2 IMAGES.npz WIDTH STEPS THREADS DEVICE

prints the seconds per step.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCH, LATENT, CLASSES = 32, 100, 10
BN_EPS = 0.8


class Generator(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, LATENT)
        self.project = nn.Linear(LATENT, 2 * width * 8 * 8)
        self.trunk = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width, eps=BN_EPS),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=BN_EPS),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.project(z * self.embedding(labels))
        return self.trunk(x.view(len(z), -1, 8, 8))


class Discriminator(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for index in range(4):
            after = width * 2**index
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.LeakyReLU(0.2),
                nn.Dropout2d(0.25),
            ]
            if index > 0:
                layers.append(nn.BatchNorm2d(after, eps=BN_EPS))
            before = after
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.adversarial = nn.Linear(before * 2 * 2, 1)
        self.classify = nn.Linear(before * 2 * 2, CLASSES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(images)
        return self.adversarial(features), self.classify(features)


class PlainLoop:
    """The networks, their optimizers and the data.

    Args:
        images: uint8 (N, 1, 32, 32).
        labels: (N,).
        width: of the generator, see mergan.networks.upsample.
        width_d: of the discriminator.
        device: where the networks are; the loader's batches come from the CPU.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, width: int = 64, width_d: int = 16, device: str = "cpu"
    ) -> None:
        dataset = TensorDataset(images.float() / 127.5 - 1, labels)
        self.loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True)
        self.device = device
        self.generator, self.discriminator = Generator(width).to(device), Discriminator(width_d).to(device)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), lr=7e-5, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=7e-5, betas=(0.5, 0.999))
        self.history: list[tuple[float, float, float]] = []

    def run(self, steps: int, skip: int = 5) -> float:
        """Train for `steps` steps; returns seconds per step after the first `skip`."""
        done, begun = 0, 0.0
        while True:
            for images, labels in self.loader:
                if done == skip:
                    begun = time.perf_counter()
                if done == steps:
                    return (time.perf_counter() - begun) / (steps - skip)
                self._step(images.to(self.device), labels.to(self.device))
                done += 1

    def _step(self, real: Tensor, labels: Tensor) -> None:
        adversarial_loss, class_loss = nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()
        device = self.device
        valid, fake = torch.ones(BATCH, 1, device=device), torch.zeros(BATCH, 1, device=device)

        self.optimizer_g.zero_grad()
        asked = torch.randint(CLASSES, (BATCH,), device=device)
        images = self.generator(torch.randn(BATCH, LATENT, device=device), asked)
        validity, classes = self.discriminator(images)
        loss_g = 0.5 * (adversarial_loss(validity, valid) + class_loss(classes, asked))
        loss_g.backward()
        self.optimizer_g.step()

        self.optimizer_d.zero_grad()
        real_validity, real_classes = self.discriminator(real)
        fake_validity, fake_classes = self.discriminator(images.detach())
        loss_real = adversarial_loss(real_validity, valid) + class_loss(real_classes, labels)
        loss_fake = adversarial_loss(fake_validity, fake) + class_loss(fake_classes, asked)
        loss_d = 0.25 * (loss_real + loss_fake)
        loss_d.backward()
        self.optimizer_d.step()
        right = (real_classes.argmax(dim=1) == labels).float().mean()
        self.history.append((loss_g.item(), loss_d.item(), right.item()))


def main(images: str, width: str, steps: str, threads: str, device: str) -> None:
    """Measure in this process."""
    torch.set_num_threads(int(threads))
    data = np.load(images)
    images_labels = torch.tensor(data["images"]), torch.tensor(data["labels"])
    loop = PlainLoop(*images_labels, int(width), device=device)
    print(loop.run(int(steps)))


if __name__ == "__main__":
    main(*sys.argv[1:])
