"""The data sets that torchvision can download and parse."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mergan.config.ranges import Channels
from mergan.data.mnist_5k import MNIST5k
from mergan.data.source import SPLITS, ArraySource, Split, digest_of
from mergan.system.errors import DataError

# Only data sets whose files are arrays, or pickles whose checksums torchvision verifies before reading them.
# Others, such as LSUN with its cache, would run code from a planted file.
Known = Literal["MNIST", "FashionMNIST", "KMNIST", "QMNIST", "USPS", "SVHN", "CIFAR10", "CIFAR100"]

# Of the images, as far as their publishers state one.
LICENCES: Mapping[str, str] = {
    "MNIST": MNIST5k.licence,
    "FashionMNIST": "MIT (Zalando SE)",
    "KMNIST": "CC BY-SA 4.0 (KMNIST, made by ROIS-DS Center for Open Data in the Humanities)",
    "SVHN": "for non-commercial use only (Google Street View; Netzer et al. 2011)",
}

# Otherwise a firewall that drops packets would block a download for many minutes.
NETWORK_TIMEOUT = 30.0


class TorchvisionSet(ArraySource):
    """One of torchvision's data sets; the YAML file holds all settings that differ between them.

    Existing files under `root` are used as they are; `root` may then be read-only.

    Args:
        dataset: name of the class in `torchvision.datasets`.
        root: the folder of the data sets.
        download: whether missing files may be downloaded.
        channels: 1 for grey, 3 for colour.
        class_names: the name of each class, in the order of the labels.
        files: the files of the data set, relative to `root`.
        split_arguments: arguments of the class for "train" and for "test".
        axes: axis order of its array `data`, in the letters N, C, H, W; without C the images are grey.
        labels: name of its attribute with the labels.
    """

    def __init__(
        self,
        dataset: Known,
        root: str,
        download: bool,
        channels: Channels,
        class_names: Sequence[str],
        files: Sequence[str],
        split_arguments: Mapping[str, Mapping[str, Any]],
        axes: str,
        labels: str,
    ) -> None:
        super().__init__(dataset, channels)
        self.licence = LICENCES.get(dataset, self.licence)
        self.root = Path(root).expanduser().absolute()
        self._download = download
        self._class_names = [str(name) for name in class_names]
        self._files = [self.root / file for file in files]
        self._split_arguments = {split: dict(arguments) for split, arguments in split_arguments.items()}
        self._axes = axes
        self._labels = labels

    @property
    def class_names(self) -> list[str]:
        return self._class_names

    def prepare(self) -> None:
        missing = [file for file in self._files if not file.is_file()]
        if not missing:
            return
        remedy = "use data=mnist_5k, or put the files there"
        if not self._download:
            raise DataError(
                f"{self.name}: {missing[0]} not found in {self.root} and data.download=false; "
                f"{remedy}, or set data.download=true"
            )
        try:
            with _network_timeout(NETWORK_TIMEOUT):
                for split in SPLITS:
                    self._open(split, download=True)
        # torchvision passes on all errors of network, archive and file system.
        except Exception as error:
            raise DataError(
                f"{self.name}: not found in {self.root} and the download failed "
                f"({_one_line(error)}); {remedy}"
            ) from error

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for file in self._files:
            status = file.stat()
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def identity(self) -> list[str]:
        """Digests of the names and sizes of the files, the same for every class."""
        sizes = [f"{file.relative_to(self.root).as_posix()} {file.stat().st_size}" for file in self._files]
        return [digest_of(self.name, *sizes)] * len(self._class_names)

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        folder = self._files[0].parent
        try:
            opened = self._open(split, download=False)
        # Broken files cause anything from an assertion to an unpickling error.
        except Exception as error:
            raise DataError(
                f"{self.name}: broken files in {folder} ({_one_line(error)}); "
                "delete them, then put whole ones there or set data.download=true"
            ) from error
        images, axes = np.asarray(opened.data), self._axes
        if "C" not in axes:
            images, axes = images[..., None], axes + "C"
        labels = np.asarray(getattr(opened, self._labels), dtype=np.int64)
        return images.transpose([axes.index(axis) for axis in "NCHW"]), labels

    def _open(self, split: Split, download: bool) -> Any:
        # Imported here because a run with a filled cache does not need it.
        from torchvision import datasets

        dataset = getattr(datasets, self.name)
        return dataset(root=self.root, download=download, **self._split_arguments[split])


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200].removesuffix(": ")
