"""Where the trials of a search are kept: a journal file or a database, open to several processes."""

from __future__ import annotations

import errno
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from mergan.system.errors import ConfigError, StorageError, reason

JOURNAL = "journal.log"  # in the search folder
URL = "://"
ENTRY = b'{"op_code":'  # the begin of every line of a journal
PASSWORD = re.compile(r"(?<=:)[^:/@]*(?=@)")


class SystemLock:
    """A lock that the system releases when its process ends. Optuna's own outlives a killed process for half
    a minute.

    Args:
        path: the lock file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def settled(where: str | None, folder: Path) -> str:
    """The storage that a command means, so that it means the same in another working directory.

    Args:
        where: `search.storage`.
        folder: the search folder.
    """
    if where is None:
        return str(folder / JOURNAL)
    return where if URL in where else str(Path(where).expanduser().absolute())


def open_storage(where: str) -> BaseStorage:
    """Open a storage; a journal file and its folder are made where they are missing.

    Args:
        where: path of a journal file, or the URL of a database that SQLAlchemy knows.

    Raises:
        ConfigError: the storage cannot be reached or read.
        StorageError: the journal cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the search prints its own lines
    warnings.filterwarnings("ignore", module="optuna.*")
    try:
        if URL in where:
            return _database(where)
        return _journal(Path(where))
    except ConfigError:
        raise
    except OSError as error:
        raise _unusable(where, error) from error
    except Exception as error:  # a driver may raise anything, and so does a file that is no journal
        said = f"{_shown(where)}: cannot be opened ({reason(error)}); name another storage"
        raise ConfigError(said) from error


def _journal(path: Path) -> JournalStorage:
    """Open a journal file, without an entry at its end that a crash or a full disk has cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()
    if not os.access(path.parent, os.W_OK | os.X_OK):  # filelock would wait for ever
        raise PermissionError(errno.EACCES, "no lock can be made beside it")
    lock = SystemLock(path.with_name(f".{path.name}.lock"))
    lock.acquire()
    try:
        content = path.read_bytes()
        if content and not content.startswith(ENTRY):
            raise ConfigError(f"{_shown(str(path))}: is not a journal of Optuna; name another file")
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
    finally:
        lock.release()
    locked: Any = lock  # Optuna exports no base class for it
    return JournalStorage(JournalFileBackend(str(path), locked))


def _database(url: str) -> RDBStorage:
    """Connect to a database. Two processes may be making its tables at once, of which one fails."""
    from sqlalchemy.exc import SQLAlchemyError

    for wait in (0.5, 2.0):
        try:
            return RDBStorage(url)
        except SQLAlchemyError:
            time.sleep(wait)
    return RDBStorage(url)


@contextmanager
def in_use(where: str) -> Iterator[None]:
    """Raise what goes wrong with an open storage as StorageError, e.g. a full disk or a lost database.

    Args:
        where: the storage, for messages.
    """
    try:
        yield
    except StorageError:
        raise
    except (OSError, StorageInternalError) as error:
        raise _unusable(where, error) from error


def _unusable(where: str, error: Exception) -> StorageError:
    said = getattr(error, "strerror", None) or reason(error)
    return StorageError(f"{_shown(where)}: cannot be used ({said}); mend that, then repeat the command")


def _shown(where: str) -> str:
    return f"search.storage={PASSWORD.sub('***', where) if URL in where else where}"
