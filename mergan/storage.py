"""Writing files so that a half-written one is never taken for a whole one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it to disk and rename it into place.

    A crash or an error leaves `path` as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_atomically(content: Any, path: Path) -> None:
    """torch.save `content` to `path` in one piece."""
    import torch

    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_tensors(path: Path, map_location: str | Callable | None = "cpu") -> Any:
    """torch.load without executing code from the file."""
    import torch

    return torch.load(path, map_location=map_location, weights_only=True)
