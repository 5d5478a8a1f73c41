"""4: images per second that the loader delivers, over a torchvision data set with transforms."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import VisionDataset

from benchmarks.fits import Fit
from benchmarks.measure import Figure, alternate
from mergan.data.loader import TaskLoader

BATCH = 32


class Digits(VisionDataset):
    """Images in memory, served as torchvision's MNIST does: a PIL image per sample, then transforms."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        transform = transforms.Compose(
            [transforms.Resize(32), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        )
        super().__init__(root="", transform=transform)
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index], mode="L")), int(self.labels[index])


def run(cache_dir: Path, rounds: int = 5, passes: int = 5) -> list[Figure]:
    """Whole passes over the training images of mnist_5k, as float tensors in [-1, 1]."""
    fit = Fit(("data=mnist_5k",), cache_dir)
    data, pool = fit.data, fit.pool
    images, labels = pool.real_set.images, pool.real_set.labels
    small = np.ascontiguousarray(images[:, 0, 2:-2, 2:-2])  # 28x28, to be resized as MNIST is
    plain: DataLoader[Any] = DataLoader(Digits(small, labels), batch_size=BATCH, shuffle=True)

    def rate(batches: object, count: int) -> float:
        begun, seen = time.perf_counter(), 0
        for _ in range(count):
            for batch, _ in batches:  # type: ignore[attr-defined]
                seen += len(data.on_after_batch_transfer((batch, None), 0)[0])
        return seen / (time.perf_counter() - begun)

    ours = TaskLoader(
        pool.real_set, range(pool.num_classes), real_per_step=BATCH, num_steps=None, seed=0, epoch=0
    )
    pairs = alternate(lambda: rate(ours, passes), lambda: rate(plain, 1), rounds)
    return [pairs.ratio("loader over torchvision DataLoader with transforms", ">= 50", unit="images/s")]
