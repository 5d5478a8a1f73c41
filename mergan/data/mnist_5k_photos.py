"""The digits of mnist_5k blended into photographs: colour and backgrounds without a download."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from mergan.config.ranges import Channels
from mergan.data.mnist_5k import MNIST5k
from mergan.data.pixels import fit
from mergan.data.source import CHUNK, SPLITS, Source, Split, digest_of
from mergan.system.errors import DataError

# Increase it when the pictures change, so that old cached pictures are not used.
VERSION = 1

SEED = 1409

# The photographs that installed packages carry: module and path below its folder.
PHOTOGRAPHS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)

# Patches of a split come from these parts of each photograph, (left, right) in quarters of its width. Each
# part is as likely as it stands here. The splits share no pixel.
PARTS: dict[Split, tuple[tuple[int, int], ...]] = {"train": ((0, 2), (0, 2), (3, 4)), "test": ((2, 3),)}

# How many patches each digit is blended into.
PATCHES: dict[Split, int] = {"train": 4, "test": 2}

# Side of a patch in pixels of its photograph. A quarter of the narrowest photograph is 128 pixels wide.
SIDES = (32, 112)

# RGB to brightness and two axes of colour (NTSC's YIQ); a rotation of the axes turns the hue.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


class MNIST5kPhotos(Source):
    """Digits 0 to 9 on photographs: 16,000 training and 2,000 test pictures, balanced.

    A picture is |patch - digit| per channel, the blend of MNIST-M (Ganin and Lempitsky 2015, arXiv
    1409.7495). The patch is a square of a photograph at any of several scales, perhaps mirrored, with its hue
    turned by any angle. Each training digit appears on four patches, each test digit on two. A digit is in
    one split only. Patches of the two splits come from different parts of the photographs.

    With `evaluation.split=val`, the same digit may appear on other patches in training and in evaluation.

    Args:
        channels: 3, or 1 to reduce the pictures to their brightness.
    """

    licence = (
        f"digits: {MNIST5k.licence}; photographs: CC BY 2.0 (danielbuechele and vultilion on Flickr, from "
        "scikit-learn) and public domain (Grace Hopper, US Navy, from matplotlib)"
    )

    def __init__(self, channels: Channels) -> None:
        super().__init__("mnist_5k_photos", channels)
        self._digits = MNIST5k(channels=1)

    @property
    def class_names(self) -> list[str]:
        return self._digits.class_names

    def prepare(self) -> None:
        self.fingerprint()

    def fingerprint(self) -> str:
        return f"version {VERSION}, {self._digits.fingerprint()}, photographs {self._photographs_digest}"

    def identity(self) -> list[str]:
        return [digest_of(self.name, VERSION, digit) for digit in self._digits.identity()]

    def size(self, split: Split) -> int:
        return self._digits.size(split) * PATCHES[split]

    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        digits, labels = self._digits.read(split)
        masks = fit(digits, 1, image_size)
        photographs = [np.asarray(Image.open(path).convert("RGB")) for path in _paths()]
        count = self.size(split)
        draws = np.random.default_rng([SEED, SPLITS.index(split)]).random((count, 7))
        for start in range(0, count, CHUNK):
            index = np.arange(start, min(start + CHUNK, count))
            patches = np.stack([_patch(photographs, split, image_size, draw) for draw in draws[index, :6]])
            turned = _hue_turned(patches, 2 * np.pi * draws[index, 6])
            digit = index % len(labels)
            blended = np.abs(turned.astype(np.int16) - masks[digit])
            yield fit(blended.astype(np.uint8), self.channels, image_size), labels[digit]

    @cached_property
    def _photographs_digest(self) -> str:
        digest = hashlib.sha256()
        for path in _paths():
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def _paths() -> list[Path]:
    """Where the photographs are.

    Raises:
        DataError: a package or its photograph is missing.
    """
    found = []
    for module, name in PHOTOGRAPHS:
        spec = find_spec(module)  # without importing it
        path = None if spec is None or spec.origin is None else Path(spec.origin).parent / name
        if path is None or not path.is_file():
            raise DataError(
                f"mnist_5k_photos: the package {module} with its photograph {name} is missing; "
                "run make install"
            )
        found.append(path)
    return found


def _patch(photographs: list[np.ndarray], split: Split, size: int, draw: np.ndarray) -> np.ndarray:
    """A square of a photograph.

    Args:
        photographs: uint8 (H, W, 3) each.
        split: the parts of the photographs to take it from.
        size: side of the result in pixels.
        draw: uniform numbers in [0, 1), (6,): photograph, part, side, left, top, mirrored.

    Returns:
        uint8 (3, size, size).
    """
    photograph = photographs[int(draw[0] * len(photographs))]
    height, width, _ = photograph.shape
    parts = PARTS[split]
    left, right = (quarter * width // 4 for quarter in parts[int(draw[1] * len(parts))])
    side = SIDES[0] + int(draw[2] * (SIDES[1] + 1 - SIDES[0]))
    x, y = left + int(draw[3] * (right - left - side + 1)), int(draw[4] * (height - side + 1))
    cut = photograph[y : y + side, x : x + side]
    scaled = np.asarray(Image.fromarray(cut).resize((size, size), Image.Resampling.BILINEAR))
    return (scaled[:, ::-1] if draw[5] < 0.5 else scaled).transpose(2, 0, 1)


def _hue_turned(patches: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Turn the hue of patches uint8 (n, 3, S, S) by angles (n,) in radians; brightness stays where no colour
    has to be clipped.
    """
    cos, sin = np.cos(angles), np.sin(angles)
    turns = np.zeros((len(angles), 3, 3))
    turns[:, 0, 0] = 1
    turns[:, 1, 1], turns[:, 1, 2], turns[:, 2, 1], turns[:, 2, 2] = cos, -sin, sin, cos
    mixing = (np.linalg.inv(YIQ) @ turns @ YIQ).astype(np.float32)
    flat = patches.reshape(len(patches), 3, -1).astype(np.float32)
    return np.rint(mixing @ flat).clip(0, 255).astype(np.uint8).reshape(patches.shape)
