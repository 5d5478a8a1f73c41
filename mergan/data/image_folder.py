"""Your own images: one folder per class."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_only

from mergan.config.ranges import Channels, Fraction, Positive
from mergan.data import decoding, looking, opening
from mergan.data.folders import File, Found, find
from mergan.data.source import CHUNK, SPLITS, Choice, Source, Split
from mergan.system.errors import DataError
from mergan.system.text import shortened, shown

log = logging.getLogger(__name__)

# The split has its own fixed seed, so runs with different seeds share their test images.
SPLIT_SEED = 20180

_SHOWN_CLASSES = 12  # number of names in the line that lists the classes


class ImageFolder(Source):
    """Reads `root/train/CLASS/...` and `root/test/CLASS/...`, or `root/CLASS/...`, which it splits itself.

    The classes are the folders in natural order (2 before 10). Their names are converted to Unicode normal
    form NFC. Images may lie in subfolders. Links are followed, and each file counts once. Names that begin
    with a dot and files whose suffix is not in `opening.SUFFIXES` are skipped and counted. Split folders
    may have any common name (Train, training, val, valid, test ...). Without a test folder, the validation
    folder is the test split; otherwise the validation folder is ignored.

    Transparent parts show the background. The longer side is cropped to the centre, then the image is
    scaled.

    Args:
        root: the folder.
        channels: 1 for grey, 3 for colour.
        test_fraction: share of each class to set aside as test images if there is no test folder; at
            least one image. The choice depends on the class name and the paths below the class folder,
            not on `root` or other classes.
        background: the colour behind transparent parts, a name or "#rrggbb".
        white: the value of white in grey images of more than 8 bits. None: 16-bit images use that of
            their format, 32-bit and floating-point images are refused.

    Raises:
        ConfigError: `background` is not a colour.
    """

    licence = "the owner of the pictures decides"

    def __init__(
        self,
        root: str,
        channels: Channels,
        test_fraction: Fraction,
        background: str,
        white: Positive | None,
    ) -> None:
        super().__init__("image_folder", channels)
        self.root = Path(root).expanduser().absolute()
        self._test_fraction = test_fraction
        self._decoder = decoding.Decoder(channels, decoding.colour(background), white)
        self._described = False

    @property
    def class_names(self) -> list[str]:
        return self._found.names

    def prepare(self) -> None:
        sizes = [self.size(split) for split in SPLITS]
        if not self._described:
            self._described = True
            self._describe(*sizes)

    def fingerprint(self) -> str:
        return self._fingerprint

    def identity(self) -> list[str]:
        digests = [hashlib.sha256() for _ in self.class_names]
        for split in SPLITS:
            for digest, files in zip(digests, self._splits[split], strict=True):
                for file in files:
                    digest.update(_bytes(f"{split}\0{file.relative}\0{file.size}\n"))
        return [digest.hexdigest()[:16] for digest in digests]

    def size(self, split: Split) -> int:
        return sum(map(len, self._splits[split]))

    def training_counts(self) -> list[int]:
        return [len(files) for files in self._splits["train"]]

    def suited_channels(self) -> Choice:
        return looking.channels(self._paths(), self._decoder, self.root)

    def suited_size(self) -> Choice:
        return looking.image_size(self._paths())

    def chunks(self, split: Split, image_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        files = [(file.path, label) for label, of in enumerate(self._splits[split]) for file in of]
        threads = min(8, os.cpu_count() or 1)  # PIL releases the GIL while it decodes
        for start in range(0, len(files), CHUNK):
            part = files[start : start + CHUNK]
            with opening.guarded(), ThreadPoolExecutor(threads) as pool:
                images = list(pool.map(lambda item: self._decoder.decode(item[0], image_size), part))
            yield np.stack(images), np.array([label for _, label in part], dtype=np.int64)

    def _paths(self) -> list[list[str]]:
        """The files of each class that the folder holds for training, before a part is set aside."""
        return [[file.path for file in files] for files in self._found.train]

    @cached_property
    def _found(self) -> Found:
        if not self.root.is_dir():
            raise DataError(f"image_folder: no folder {shown(str(self.root))}; name one with data.root=...")
        return find(self.root)

    @cached_property
    def _splits(self) -> dict[Split, list[list[File]]]:
        """The files of each class by split, in decoding order."""
        found = self._found
        if found.test is not None:
            return {"train": found.train, "test": found.test}
        divided = [self._divide(name, files) for name, files in zip(found.names, found.train, strict=True)]
        return {"train": [train for train, _ in divided], "test": [test for _, test in divided]}

    def _divide(self, name: str, files: list[File]) -> tuple[list[File], list[File]]:
        """Split the images of a class into training and test images, at least one each."""
        if len(files) < 2:
            raise DataError(
                f"image_folder: only one image in {shown(str(Path(files[0].path).parent))}, "
                "a class needs one to train and one to test with"
            )
        # Ordered by a hash of each name: adding or removing an image moves at most one other across the cut.
        ranks = [hashlib.sha256(_bytes(f"{SPLIT_SEED}\0{name}\0{file.relative}")).digest() for file in files]
        order = sorted(range(len(files)), key=lambda index: (ranks[index], index))
        cut = min(max(round(len(files) * self._test_fraction), 1), len(files) - 1)
        train, test = sorted(order[cut:]), sorted(order[:cut])
        return [files[index] for index in train], [files[index] for index in test]

    @cached_property
    def _fingerprint(self) -> str:
        settings = (self._test_fraction, SPLIT_SEED, decoding.VERSION, self._decoder)
        digest = hashlib.sha256(_bytes(f"{self.root}\0{settings}\n"))
        for split in SPLITS:
            for name, files in zip(self.class_names, self._splits[split], strict=True):
                for file in files:
                    digest.update(_bytes(f"{split}\0{name}\0{file.path}\0{file.size}\0{file.mtime_ns}\n"))
        return digest.hexdigest()

    @rank_zero_only
    def _describe(self, train: int, test: int) -> None:
        """Log what was found, whether or not it is in the cache."""
        for note in self._found.notes:
            log.info("image_folder: %s", note)
        log.info(
            "image_folder: %d + %d images of %d classes: %s",
            train,
            test,
            len(self.class_names),
            self._order(),
        )

    def _order(self) -> str:
        """Label and name of each class; if there are many, only the first ones and the last."""
        labelled = [f"{label} {shortened(shown(name))}" for label, name in enumerate(self.class_names)]
        if len(labelled) > _SHOWN_CLASSES:
            labelled[_SHOWN_CLASSES - 2 : -1] = ["..."]
        return ", ".join(labelled)


def _bytes(text: str) -> bytes:
    """Encode text for a digest; file names may contain bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")
