"""Writing files so that a half-written one is never taken for a whole one, and one process at a time."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mergan.errors import ConfigError, StorageError

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what the system says when there is no more room


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, says that the disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a run folder for this process; the system lets go of it when the process ends, however it ends.

    Raises:
        ConfigError: another process has it.
    """
    from filelock import Timeout

    try:
        with _lock(folder / ".lock", blocking=False):
            yield
    except Timeout:
        raise ConfigError(
            f"hydra.run.dir={folder}: another process is training there; wait for it or name another folder"
        ) from None


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Make `target` with nobody else at it; waits for a process that is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_name(f".{target.name}.lock"), blocking=True):
        yield


@contextmanager
def _lock(path: Path, blocking: bool) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, fallback_to_soft=False)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if not blocking:
                raise
            log.info("waiting for another process that is at work in %s", path.parent)
            lock.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise
        log.warning("%s: this file system knows no locks; start no second process there", path.parent)
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held; who waits for it asks for a new one
        lock.release()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it to disk and rename it into place.

    A crash or an error leaves `path` as it was.

    Raises:
        StorageError: the system does not let it be written.
    """
    # the process id alone is not unique where machines share the folder
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):  # a folder that cannot be entered; what went wrong is on its way up
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder outlast a power failure, where the system can open folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_atomically(content: Any, path: Path) -> None:
    """torch.save `content` to `path` in one piece."""
    import torch

    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None  # which torch covers up by its own
            raise


def load_tensors(path: Path, map_location: str | Callable | None = "cpu") -> Any:
    """torch.load without executing code from the file."""
    import torch

    return torch.load(path, map_location=map_location, weights_only=True)
