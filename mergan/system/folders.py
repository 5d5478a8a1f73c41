"""Write a folder in one piece."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mergan.system.errors import StorageError

Foreign = Callable[[Path], Path | None]  # the first entry of a folder that must not be removed


@contextmanager
def replacing_folder(path: Path, foreign: Foreign) -> Iterator[Path]:
    """Yield a new folder beside `path`; on success rename it into place.

    What `path` holds is replaced as a whole if nothing in it is foreign. It is moved aside before it is
    looked at again and removed, file by file, so that a file that somebody else puts there in the meantime is
    never removed. An error leaves `path` as it was. If the process is killed between two renames, `path` is
    missing and its content stands beside it, in a folder that ends with `.old`.

    Args:
        path: the folder.
        foreign: the first entry of a folder that must not be removed, or None.

    Raises:
        StorageError: the system refuses to write, or something foreign is in the way.
    """
    unique = f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}"
    made, aside = path.with_name(f"{unique}.tmp"), path.with_name(f"{unique}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made.mkdir()
        yield made
        if os.path.lexists(path):
            os.rename(path, aside)
        try:
            if aside.exists() and (own := foreign(aside)) is not None:
                raise StorageError(f"{path}: somebody else has put {own.name} there in the meantime")
            os.rename(made, path)
        except BaseException:
            if aside.exists() and not os.path.lexists(path):
                os.rename(aside, path)
            raise
        if aside.exists():
            _remove(aside)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)  # nobody else knows its name


def _remove(folder: Path) -> None:
    """Remove a folder; links are not followed."""
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            _remove(Path(entry.path))
        else:
            os.unlink(entry.path)
    os.rmdir(folder)
