"""The judge of a data set: trained once, then read from the cache."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mergan.checkpoints.archive import read_archive
from mergan.checkpoints.fitting import misfit
from mergan.data.image_set import ImageSet
from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.training import Fresh, train_classifier
from mergan.system.errors import CheckpointError, DataError, reason
from mergan.system.files import alone, check_replaceable, save_atomically, tidy

log = logging.getLogger(__name__)

SLACK = 2**16  # maximum size of a file beyond its tensors, in bytes
FORMAT = 2  # part of the cache key: increase it when architecture or training change


def load_or_train(
    train: ImageSet,
    fresh: Fresh,
    key: str,
    cache_dir: Path,
    max_steps: int,
    device: torch.device | str = "cpu",
) -> Classifier:
    """The judge of a data set, trained once on its real training images and then read from the cache.

    Args:
        train: the real training images of the split in use.
        fresh: makes the untrained judge.
        key: identity of data set, image size, split and network.
        cache_dir: the cache folder.
        max_steps: see train_classifier.
        device: where to train; the judge itself is returned on the CPU.

    Raises:
        DataError: `cache_dir` cannot be written.
    """
    path = _place(train, key, cache_dir, max_steps)
    try:
        check_replaceable(path)
        judge = _read(path, fresh)
        if judge is not None:
            tidy(path.parent)
            return judge
        with alone(path):
            return _read(path, fresh) or _train_judge(path, train, fresh, max_steps, device)
    except OSError as error:
        raise DataError(
            f"cache_dir={cache_dir}: cannot keep the evaluation classifier there ({error}); "
            "name another folder with cache_dir=..."
        ) from error


def load(train: ImageSet, fresh: Fresh, key: str, cache_dir: Path, max_steps: int) -> Classifier | None:
    """The judge that `load_or_train` would give, if the cache holds it."""
    return _read(_place(train, key, cache_dir, max_steps), fresh)


def _place(train: ImageSet, key: str, cache_dir: Path, max_steps: int) -> Path:
    digest = hashlib.sha256(f"{FORMAT}|{key}|{len(train)}|{max_steps}".encode()).hexdigest()[:16]
    return cache_dir / "classifiers" / f"{digest}.pt"


def _read(path: Path, fresh: Fresh) -> Classifier | None:
    """The judge from the cache, or None if the cache holds no valid one."""
    if not path.is_file():
        return None
    model = fresh()
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


def _train_judge(
    path: Path, train: ImageSet, fresh: Fresh, max_steps: int, device: torch.device | str
) -> Classifier:
    log.info("training the evaluation classifier (once; kept in %s)", path.parent)
    model = train_classifier(train, fresh, seed=0, augment=True, max_steps=max_steps, device=device).cpu()
    save_atomically(model.state_dict(), path)
    return model
