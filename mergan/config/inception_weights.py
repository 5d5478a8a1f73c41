"""Find the weights of Inception-v3. This needs no torch, so that missing weights are reported at once."""

from __future__ import annotations

import os
from pathlib import Path

from mergan.system.errors import DataError

FILE = "weights-inception-2015-12-05-6726825d.pth"
SOURCE = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"


def find_weights(path: str | None, cache_dir: str | Path) -> Path:
    """The file with the weights; it is never downloaded.

    Args:
        path: path of the file; None looks in `cache_dir` and in torch's download folder.
        cache_dir: folder of the caches.

    Raises:
        DataError: the file does not exist; the message says where to get it and where to put it.
    """
    places = (
        [Path(cache_dir).expanduser() / FILE, _torch_hub() / FILE]
        if path is None
        else [Path(path).expanduser()]
    )
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"evaluation.spaces.inception: {places[0]} is missing; fetch {SOURCE} and put it there, "
        "name another place with evaluation.inception_weights, or leave inception out of evaluation.features"
    )


def _torch_hub() -> Path:
    """Where torch.hub keeps downloaded weights."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{caches}/torch")).expanduser() / "hub" / "checkpoints"
