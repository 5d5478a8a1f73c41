"""Images of one's own: a folder per class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mergan.data.source import CHUNK, SPLITS, Source, Split
from mergan.data.splits import fixed_permutation
from mergan.errors import ConfigError, DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MODES = {1: "L", 3: "RGB"}

# The seed of the split is part of the data set: runs with different seeds share their test images.
SPLIT_SEED = 20180


class ImageFolder(Source):
    """`root/train/CLASS/...` and `root/test/CLASS/...`, or `root/CLASS/...` with a split of our own.

    Classes are the folders in alphabetical order; images may lie in folders below them. Names that
    begin with a dot are passed over. The longer side is cropped in the middle, then the image is
    scaled.

    Args:
        root: the folder.
        channels: 1 for grey, 3 for colour.
        test_fraction: share of each class that is set aside as test images where there is no
            folder `root/test`; at least one image.

    Raises:
        ConfigError: `test_fraction` is not between 0 and 1.
    """

    def __init__(self, root: str, channels: int, test_fraction: float = 0.2) -> None:
        super().__init__("image_folder", channels)
        if not 0 < test_fraction < 1:
            raise ConfigError(
                f"data.source.test_fraction={test_fraction}: use a share between 0 and 1, e.g. 0.2"
            )
        self.root = Path(root).expanduser().absolute()
        self._test_fraction = test_fraction

    @property
    def class_names(self) -> list[str]:
        return self._found[0]

    def prepare(self) -> None:
        if not self.root.is_dir():
            raise DataError(f"image_folder: no folder {self.root}; name one with data.root=...")
        self.size("train")

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.root}\0{self._test_fraction}\0{SPLIT_SEED}\n".encode())
        for split in SPLITS:
            for file, label in self._found[1][split]:
                try:
                    status = os.stat(file)
                except OSError as error:  # a link to nowhere
                    raise DataError(
                        f"image_folder: cannot read {file} ({error.strerror}), replace or remove it"
                    ) from error
                digest.update(
                    f"{split}\0{label}\0{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(
                        errors="surrogateescape"
                    )
                )
        return digest.hexdigest()

    def size(self, split: Split) -> int:
        return len(self._found[1][split])

    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        files = self._found[1][split]
        decode = partial(_decode, mode=MODES[self.channels], size=image_size)
        # PIL lets go of the interpreter lock while it decodes.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(files), CHUNK):
                part = files[start : start + CHUNK]
                images = np.stack(list(pool.map(decode, [file for file, _ in part])))
                yield images, np.array([label for _, label in part], dtype=np.int64)

    @cached_property
    def _found(self) -> tuple[list[str], dict[Split, list[tuple[str, int]]]]:
        """Class names, and for each split the files with their labels."""
        train, test = self.root / "train", self.root / "test"
        if not (train.is_dir() and test.is_dir()):
            names, files = _scan(self.root)
            if names == ["train"]:
                names, files = _scan(train)
            return names, self._divide(files)
        names, files = _scan(train)
        test_names, test_files = _scan(test)
        if names != test_names:
            odd = min(set(names) ^ set(test_names))
            raise DataError(f"image_folder: class {odd} must have images in both {train} and {test}")
        return names, {"train": _labelled(files), "test": _labelled(test_files)}

    def _divide(self, files: list[list[str]]) -> dict[Split, list[tuple[str, int]]]:
        train: list[list[str]] = []
        test: list[list[str]] = []
        for label, of_class in enumerate(files):
            if len(of_class) < 2:
                raise DataError(
                    f"image_folder: only one image in {Path(of_class[0]).parent}, "
                    "a class needs one to train and one to test with"
                )
            order = fixed_permutation(len(of_class), SPLIT_SEED, label)
            cut = min(max(round(len(of_class) * self._test_fraction), 1), len(of_class) - 1)
            test.append([of_class[i] for i in sorted(order[:cut])])
            train.append([of_class[i] for i in sorted(order[cut:])])
        return {"train": _labelled(train), "test": _labelled(test)}


def _scan(folder: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the class folders, and the image files below each, both sorted."""
    try:
        names = sorted(
            item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith(".")
        )
    except OSError as error:
        raise DataError(f"image_folder: cannot read the folder {folder} ({error.strerror})") from error
    if not names:
        raise DataError(
            f"image_folder: no class folders with images in {folder}, expected {folder}/CLASS/*.png"
        )
    files = [_images_below(folder / name) for name in names]
    for name, of_class in zip(names, files, strict=True):
        if not of_class:
            raise DataError(
                f"image_folder: no images in {folder / name}, put some there or remove the folder"
            )
    return names, files


def _images_below(folder: Path) -> list[str]:
    found: list[str] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]  # os.walk reads it back
        found += [os.path.join(parent, name) for name in names if _is_image(name)]
    return sorted(found)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def _labelled(files: list[list[str]]) -> list[tuple[str, int]]:
    return [(file, label) for label, of_class in enumerate(files) for file in of_class]


def _decode(file: str, mode: str, size: int) -> np.ndarray:
    """One image as uint8 (channels, size, size)."""
    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):
                # 16-bit grey: converting as PIL does would cut off all but the darkest values.
                upright = Image.fromarray((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
            fitted = ImageOps.fit(upright.convert(mode), (size, size), Image.Resampling.BILINEAR)
    # PIL's decoders raise whatever the broken bytes lead them to.
    except Exception as error:
        raise DataError(
            f"image_folder: cannot decode {file} ({type(error).__name__}), replace or remove it"
        ) from error
    pixels = np.asarray(fitted)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
