"""Inception features from torch-fidelity's network; mergan.config.inception_weights finds its file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from mergan.config.inception_weights import SOURCE, find_weights
from mergan.evaluation.features.base import FeatureSpace
from mergan.system.errors import DataError, reason

LAYER = "2048"  # the last average pooling, on which FID is defined
LIMIT = 2**28  # bytes; the file has 95 MB
BATCH = 50  # images of 299 x 299 at a time


class Inception(FeatureSpace):
    """Inception-v3 of torch-fidelity, (N, 2048), for colour photographs; its weights are never downloaded.

    Grey images are repeated over the three channels. The network itself scales images to 299 x 299.

    Args:
        weights: file of the weights; None: searched in `cache_dir` and in torch's download folder.
        cache_dir: the cache folder.

    Raises:
        DataError: the file is missing, or does not hold these weights.
    """

    def __init__(self, weights: str | None, cache_dir: str) -> None:
        self.network = _load(find_weights(weights, cache_dir))

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.network.to(device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        parts = (part.expand(-1, 3, -1, -1).contiguous().to(self.device) for part in images.split(BATCH))
        return torch.cat([self.network(part)[0] for part in parts]).cpu()


def _load(path: Path) -> nn.Module:
    """The network with the weights of a file.

    Raises:
        DataError: the file does not hold these weights.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from mergan.system.files import load_tensors

    try:
        _check_size(path)
        load_tensors(path)  # accept only tensors: torch-fidelity would also run code from the file
        return FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=str(path))
    except Exception as error:  # torch raises many kinds of errors for foreign files
        raise DataError(
            f"inception weights {path}: not readable ({reason(error)}); fetch {SOURCE} again"
        ) from error


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
