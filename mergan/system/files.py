"""Write files atomically, and by one process at a time."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mergan.system.errors import ConfigError, StorageError
from mergan.system.interrupts import Interrupted

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the system's errors when no space is left
LOCK = ".lock"
FOREVER = -1.0  # filelock's word for it
TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9]+-[0-9a-f]{8}\.tmp", re.DOTALL)  # names made by `replacing`


def kind(path: Path) -> str:
    """What a path holds, in words for a message."""
    mode = os.lstat(path).st_mode
    for is_that, words in (
        (stat.S_ISREG, "a file"),
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_that(mode):
            return words
    return "a device"


def check_replaceable(path: Path) -> None:
    """Refuse to replace anything but a regular file or a link. (A link itself is replaced, not its target.)

    Raises:
        StorageError: it is a folder, a device, a FIFO or a socket.
    """
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise StorageError(
                f"{path}: is {kind(path)} where a file belongs; remove it or name another place"
            )


def is_full(error: BaseException | None) -> bool:
    """Whether an error or one of its causes says that the disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def locked(
    folder: Path, parts: Iterable[Path] = (), refusal: str | None = None, patience: float = 0
) -> Iterator[None]:
    """Lock a folder for this process; the system releases the lock when the process ends for any reason.

    Temporary files that a killed process has left in the folder are removed.

    Args:
        folder: the folder.
        parts: its subfolders that are cleaned as well.
        refusal: the message if another process holds the lock; None: that of a run folder.
        patience: seconds to wait for another process to end.

    Raises:
        ConfigError: another process holds the lock.
        StorageError: the lock cannot be taken for another reason, e.g. its path is a link.
    """
    from filelock import Timeout

    try:
        with _lock(folder / LOCK, patience) as held:
            if held:
                for part in (folder, *parts):
                    if part == folder or not part.is_symlink():  # a link may lead to another run
                        sweep(part)
            yield
    except Timeout:
        said = (
            f"hydra.run.dir={folder}: another process is training there; wait for it or name another folder"
        )
        raise ConfigError(refusal or said) from None


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Lock `target` while it is made; waits for a process that holds the lock.

    Temporary files of `target`, and of files whose names begin with its name and "-", are removed: no process
    is writing them.

    Raises:
        StorageError: the lock cannot be taken, e.g. in a read-only folder.
    """
    with _lock(target.with_name(f".{target.name}{LOCK}"), FOREVER) as held:
        if held:
            sweep(target.parent, target.name)
        yield


def busy(target: Path) -> bool:
    """Whether another process works in a folder (`locked`) or on a file (`alone`). Does not wait.

    Args:
        target: the folder if there is one, otherwise the file.
    """
    from filelock import Timeout

    lock = target / LOCK if target.is_dir() else target.with_name(f".{target.name}{LOCK}")
    if not os.path.lexists(lock):
        return False
    try:
        with _lock(lock):
            return False
    except Timeout:
        return True


def tidy(folder: Path) -> None:
    """Remove the locks and temporary files of killed processes from a folder whose files are made under
    `alone`. Locks that are held stay. This is cheap if there are none.
    """
    from filelock import Timeout

    try:
        names = os.listdir(folder)
    except OSError:  # the folder does not exist yet, so there is nothing to remove
        return
    for name in names:
        if name.startswith(".") and name.endswith(LOCK) and name != LOCK:
            # another process is at work, or the folder is read-only: the next start may try
            with suppress(Timeout, OSError), _lock(folder / name) as held:
                if held:
                    sweep(folder, name[1 : -len(LOCK)])


def sweep(folder: Path, target: str | None = None) -> None:
    """Remove the temporary files of `replacing` in a folder; only under a lock, when nobody writes them.

    Args:
        folder: the folder, without its subfolders. It need not exist.
        target: remove only those of the file of this name, and of files whose names begin with it and "-".
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        found = TEMPORARY.fullmatch(entry.name)
        if found is None or not entry.is_file(follow_symlinks=False):
            continue
        if target is None or found["name"] == target or found["name"].startswith(f"{target}-"):
            with suppress(OSError):  # the folder is read-only now; the file does no harm
                os.unlink(entry.path)


@contextmanager
def _lock(path: Path, patience: float = 0) -> Iterator[bool]:
    """Yields whether the lock is held: some file systems have no locks. `patience` is in seconds."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_lock_file(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if patience == 0:
                raise
            log.info("waiting for another process that is at work in %s", path.parent)
            lock.acquire(timeout=patience)
        held = True
    except StorageError:
        raise
    except OSError as error:
        if isinstance(error, Timeout):
            raise
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise StorageError(f"{path}: cannot be locked ({error.strerror or error})") from error
        log.warning("%s: this file system knows no locks; start no second process there", path.parent)
        held = False
    try:
        yield held
    finally:
        if held:
            with suppress(OSError):  # e.g. the folder has been removed in the meantime
                path.unlink()  # while held; a waiting process sees that it is gone and makes a new one
            lock.release()


def _check_lock_file(path: Path) -> None:
    """Refuse a lock path that is not a file: a link would lock its target, and a FIFO would block."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise StorageError(f"{path}: is {kind(path)} where a lock belongs; remove it")


@contextmanager
def replacing(path: Path, new: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it to disk and rename it into place.

    A crash or an error leaves `path` as it was.

    Args:
        path: the file.
        new: whether `path` must still be free when the file is renamed into place.

    Raises:
        StorageError: the system refuses to write the file, or the path holds something not to be replaced.
    """
    # the process id alone is not unique if machines share the folder
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_replaceable(path)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        check_replaceable(path)
        if new and os.path.lexists(path):
            raise StorageError(f"{path}: somebody else has put a file there in the meantime")
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):  # the folder cannot be entered; the error is being raised already
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power failure, if the system can open folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, new: bool = False) -> None:
    """Write `text` to `path` atomically; see `replacing`."""
    with replacing(path, new) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_atomically(content: Any, path: Path) -> None:
    """Write `content` to `path` with torch.save, atomically."""
    import torch

    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            cause = error.__context__
            if isinstance(cause, OSError | KeyboardInterrupt | Interrupted):
                raise cause from None  # torch's own error, about closing the archive, hides it
            raise


def load_tensors(path: Path, map_location: str | Callable | None = "cpu") -> Any:
    """torch.load without executing code from the file."""
    import torch

    return torch.load(path, map_location=map_location, weights_only=True)
