"""The image classifier that evaluates generators, and its training and caching."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mergan.checkpoints.archive import read_archive
from mergan.checkpoints.fitting import misfit
from mergan.data import normalise
from mergan.data.image_set import ImageSet
from mergan.system.errors import CheckpointError, DataError, reason
from mergan.system.files import alone, check_replaceable, save_atomically, tidy

log = logging.getLogger(__name__)

BATCH = 128
LEARNING_RATE = 2e-3
EPOCHS = 20
MIN_STEPS, MAX_STEPS = 400, 1500
SLACK = 2**16  # maximum size of a file beyond its tensors, in bytes
FORMAT = 1  # part of the cache key: increase it when architecture or training change


class Classifier(nn.Module):
    """Three strided convolutions with batch norm, one hidden layer of `num_features`, one linear head.

    Args:
        channels: channels of the images.
        image_size: at least 16, a multiple of 8.
        num_classes: number of classes.
        num_features: size of the penultimate layer.
    """

    def __init__(self, channels: int, image_size: int, num_classes: int, num_features: int = 128) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 128, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128 * (image_size // 8) ** 2, num_features),
            nn.ReLU(),
        )
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(num_features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """images (B, C, S, S) in [-1, 1] -> penultimate features (B, num_features)."""
        return self.trunk(images)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, C, S, S) in [-1, 1] -> class logits (B, num_classes)."""
        return self.head(self.drop(self.features(images)))

    @torch.no_grad()
    def look(self, images: Tensor, batch_size: int = 200) -> tuple[Tensor, Tensor]:
        """Features and classes in one pass, in eval mode.

        Args:
            images: uint8 (N, C, S, S).
            batch_size: images at a time.

        Returns:
            Penultimate features (N, num_features) and predicted classes (N,), on the CPU.
        """
        self.eval()
        device = next(self.parameters()).device
        features = torch.cat([self.features(normalise(part.to(device))) for part in images.split(batch_size)])
        return features.cpu(), self.head(features).argmax(dim=1).cpu()

    def predict(self, images: Tensor) -> Tensor:
        """images uint8 (N, C, S, S) -> predicted classes (N,), in eval mode."""
        return self.look(images)[1]


def train_classifier(
    train: ImageSet,
    num_classes: int,
    seed: int,
    augment: bool,
    max_steps: int = MAX_STEPS,
    device: torch.device | str = "cpu",
) -> Classifier:
    """Train a fresh classifier with AdamW and a one-cycle schedule.

    Args:
        train: the images and labels to learn.
        num_classes: outputs of the classifier.
        seed: seed of weights, order and augmentation; the global random state does not change.
        augment: shift, rotate and scale the images slightly (for the judge). False measures exactly
            what the images contain (for the reverse accuracy).
        max_steps: maximum number of optimizer steps; EPOCHS passes, limited to MIN_STEPS .. max_steps.
        device: where to train.
    """
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        model = Classifier(*train.shape[:2], num_classes).to(device)
        count = len(train)
        steps = min(max(MIN_STEPS, EPOCHS * count // BATCH), max_steps)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-2, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=steps)
        order = torch.cat([torch.randperm(count) for _ in range(-(-steps * BATCH // count))])
        model.train()
        for step in range(steps):
            images, labels = train.take(order[step * BATCH : (step + 1) * BATCH].numpy())
            batch = normalise(torch.from_numpy(images).to(device))
            if augment:
                batch = jitter(batch)
            loss = nn.functional.cross_entropy(model(batch), torch.from_numpy(labels).to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def jitter(images: Tensor, shift: float = 0.08, angle: float = 0.2, scale: float = 0.1) -> Tensor:
    """Shift, rotate and scale every image (B, C, S, S) by its own small random amounts.

    Args:
        images: in [-1, 1]; pixels from outside the image repeat its border.
        shift: largest shift, as a share of half the image.
        angle: largest rotation, in radians.
        scale: largest relative change in size.
    """
    noise = torch.rand(4, len(images), device=images.device) * 2 - 1
    radians, size = noise[0] * angle, 1 + noise[1] * scale
    cos, sin = size * radians.cos(), size * radians.sin()
    rows = [
        torch.stack([cos, -sin, noise[2] * shift], dim=1),
        torch.stack([sin, cos, noise[3] * shift], dim=1),
    ]
    grid = nn.functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def load_or_train(
    train: ImageSet, num_classes: int, key: str, cache_dir: Path, max_steps: int = MAX_STEPS
) -> Classifier:
    """The judge of a data set, trained once on its real training images and then read from the cache.

    Args:
        train: the real training images of the split in use.
        num_classes: classes of the data set.
        key: identity of data set, image size and split.
        cache_dir: the cache folder.
        max_steps: see train_classifier.

    Raises:
        DataError: `cache_dir` cannot be written.
    """
    digest = hashlib.sha256(f"{FORMAT}|{key}|{len(train)}|{max_steps}".encode()).hexdigest()[:16]
    path = cache_dir / "classifiers" / f"{digest}.pt"
    try:
        check_replaceable(path)
        judge = _read(path, train, num_classes)
        if judge is not None:
            tidy(path.parent)
            return judge
        with alone(path):
            return _read(path, train, num_classes) or _train_judge(path, train, num_classes, max_steps)
    except OSError as error:
        raise DataError(
            f"cache_dir={cache_dir}: cannot keep the evaluation classifier there ({error}); "
            "name another folder with cache_dir=..."
        ) from error


def _read(path: Path, train: ImageSet, num_classes: int) -> Classifier | None:
    """The judge from the cache, or None if the cache holds no valid one."""
    if not path.is_file():
        return None
    model = Classifier(*train.shape[:2], num_classes)
    try:
        state = _stored(path, model.state_dict())
    except CheckpointError as error:  # training again fixes every kind of broken file
        log.warning("classifier %s cannot be read (%s), training it again", path, reason(error))
        return None
    model.load_state_dict(state)
    return model.eval()


def _stored(path: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read a state from a file; `like` gives the expected tensors.

    Raises:
        CheckpointError: the file cannot be read as data, is too large, or has other contents.
    """
    room = sum(value.numel() * value.element_size() for value in like.values()) + SLACK
    if path.stat().st_size > room:
        raise CheckpointError(f"it is larger than the {room} bytes of a classifier")
    state = read_archive(path)
    wrong = misfit(like, state) if isinstance(state, dict) else "no weights by name"
    if not wrong and any(key.endswith("running_var") and value.min() < 0 for key, value in state.items()):
        wrong = "a variance is negative"
    if wrong:
        raise CheckpointError(f"it holds another network ({wrong})")
    return state


def _train_judge(path: Path, train: ImageSet, num_classes: int, max_steps: int) -> Classifier:
    log.info("training the evaluation classifier (once; kept in %s)", path.parent)
    model = train_classifier(train, num_classes, seed=0, augment=True, max_steps=max_steps)
    save_atomically(model.state_dict(), path)
    return model
