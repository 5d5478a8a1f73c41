"""The training of a classifier."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mergan.data import normalise
from mergan.data.image_set import ImageSet
from mergan.evaluation.classifiers import Classifier

Fresh = Callable[[], Classifier]  # a classifier with weights from the global random state
BATCH = 128
EPOCHS = 20
MIN_STEPS = 400
SHIFT, ANGLE, SCALE = 0.08, 0.2, 0.1  # of jitter


def train_classifier(
    train: ImageSet,
    fresh: Fresh,
    seed: int,
    augment: bool,
    max_steps: int,
    device: torch.device | str = "cpu",
) -> Classifier:
    """Train a fresh classifier with AdamW and a one-cycle schedule.

    Args:
        train: the images and labels to learn.
        fresh: makes the untrained classifier.
        seed: seed of weights, order and augmentation; the global random state does not change.
        augment: change the images slightly, as much as the classifier says.
        max_steps: maximum number of optimizer steps; EPOCHS passes, limited to MIN_STEPS .. max_steps.
        device: where to train.
    """
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        model = fresh().to(device)
        count = len(train)
        steps = min(max(MIN_STEPS, EPOCHS * count // BATCH), max_steps)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=model.learning_rate, weight_decay=1e-2, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=model.learning_rate, total_steps=steps
        )
        order = torch.cat([torch.randperm(count) for _ in range(-(-steps * BATCH // count))])
        model.train()
        for images, labels in train.batches(part.numpy() for part in order[: steps * BATCH].split(BATCH)):
            # without waiting until the device has done the last step
            batch, wanted = (
                torch.from_numpy(part).to(device, non_blocking=True) for part in (images, labels)
            )
            batch = normalise(batch)
            if augment:
                batch = recolour(jitter(batch, model.jitter), model.colour)
            loss = nn.functional.cross_entropy(model(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def jitter(images: Tensor, amount: float) -> Tensor:
    """Shift, rotate and scale every image (B, C, S, S) by its own small random amounts.

    Args:
        images: in [-1, 1]; pixels from outside the image repeat its border.
        amount: factor on the largest shift (SHIFT, as a share of half the image), rotation (ANGLE, in
            radians) and relative change in size (SCALE).
    """
    noise = (torch.rand(4, len(images), device=images.device) * 2 - 1) * amount
    radians, size = noise[0] * ANGLE, 1 + noise[1] * SCALE
    cos, sin = size * radians.cos(), size * radians.sin()
    rows = [
        torch.stack([cos, -sin, noise[2] * SHIFT], dim=1),
        torch.stack([sin, cos, noise[3] * SHIFT], dim=1),
    ]
    grid = nn.functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def recolour(images: Tensor, amount: float) -> Tensor:
    """Change contrast and brightness of every channel of every image (B, C, S, S) at random.

    Args:
        images: in [-1, 1].
        amount: a channel x becomes x * (1 + u) + v with u and v between -amount and amount.
    """
    if amount == 0:
        return images
    noise = (torch.rand(2, *images.shape[:2], 1, 1, device=images.device) * 2 - 1) * amount
    return images * (1 + noise[0]) + noise[1]
