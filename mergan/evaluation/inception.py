"""Inception features from torch-fidelity's network; mergan.config.inception_weights finds its file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mergan.config.inception_weights import SOURCE
from mergan.system.errors import DataError, reason

if TYPE_CHECKING:
    from torch import Tensor

LAYER = "2048"  # the last average pooling, on which FID is defined
LIMIT = 2**28  # bytes; the file has 95 MB
BATCH = 50  # images of 299 x 299 at a time


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """The Inception-v3 of torch-fidelity as a function: images uint8 (N, C, S, S) -> features (N, 2048).

    Grey images are repeated over the three channels. The network itself scales images to 299 x 299.

    Raises:
        DataError: the file does not hold these weights.
    """
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from mergan.system.files import load_tensors

    try:
        _check_size(path)
        load_tensors(path)  # accept only tensors: torch-fidelity would also run code from the file
        network = FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=str(path))
    except Exception as error:  # torch raises many kinds of errors for foreign files
        raise DataError(
            f"inception weights {path}: not readable ({reason(error)}); fetch {SOURCE} again"
        ) from error

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        parts = [network(part.expand(-1, 3, -1, -1).contiguous())[0] for part in images.split(BATCH)]
        return torch.cat(parts)

    return extract


def _check_size(path: Path) -> None:
    """Refuse a file that is larger than the weights, packed or unpacked.

    Raises:
        ValueError: it is; the message gives the size.
    """
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(entry.file_size for entry in archive.infolist()))
    if size > LIMIT:
        raise ValueError(f"{size} bytes are more than these weights have")
