"""Where files may be written: what is never replaced, and what is replaced only if the user says so."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from pathlib import Path

from mergan.output.folder import WRITTEN, RunFolder, run_that_writes
from mergan.system.errors import ConfigError, StorageError
from mergan.system.files import kind

HEAD = 256  # bytes; they contain the name of a checkpoint's first entry


def check_output(path: Path, overwrite: bool = False, key: str = "out") -> Path:
    """Check the path of an output file that the user names, before the work for it begins.

    Args:
        path: the path; `~` stands for the home folder.
        overwrite: whether an existing regular file may be replaced.
        key: the key of the path, for messages.

    Returns:
        The path, with `~` expanded.

    Raises:
        ConfigError: no file can be written there, or the path holds something that must not be replaced: a
            link, a folder, a device, a checkpoint, a file of a run folder; without `overwrite` any file.
    """
    path = _expanded(path, key)
    there = f"{key}={path}"
    if path.suffix.lower() == ".ckpt":
        raise ConfigError(f"{there}: a checkpoint is called so; name another file")
    try:
        found = kind(path) if os.path.lexists(path) else None
        run = run_that_writes(path)
        if found not in (None, "a file"):
            raise ConfigError(f"{there}: is {found}, not a file; name another one")
        if found is not None and _is_checkpoint(path):
            raise ConfigError(f"{there}: is a checkpoint, which is never replaced; name another file")
        if run is not None:
            raise ConfigError(f"{there}: belongs to the run in {run.path}; name another file")
        if found is not None and not overwrite:
            raise ConfigError(
                f"{there}: there is a file already; name another one, or replace it with overwrite=true"
            )
        _try_to_write(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{there}: no file can be written there ({reason}); name another one") from error
    return path


def check_output_folder(path: Path, key: str = "out") -> Path:
    """Check the output folder that the user names for a command; it may be a link to a folder.

    Raises:
        ConfigError: it holds a run or lies in one, is not a folder, or cannot be made.
    """
    path = _expanded(path, key)
    there = f"{key}={path}"
    try:
        if os.path.lexists(path) and not path.is_dir():
            raise ConfigError(f"{there}: is {kind(path)}, not a folder; name another one")
        place = path.resolve()
        for folder in (place, place.parent):
            if RunFolder(folder).holds_run and (folder == place or place.name in WRITTEN):
                raise ConfigError(f"{there}: belongs to the run in {folder}; name another folder")
        _try_to_write(path / "file")
    except (OSError, RuntimeError) as error:  # pathlib raises RuntimeError for a loop of links
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{there}: nothing can be written there ({reason}); name another one") from error
    return path


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that a command has left empty, and its empty parents inside the working directory."""
    here = Path.cwd()
    while folder.is_dir() and not folder.is_symlink() and folder != here and not any(folder.iterdir()):
        try:
            folder.rmdir()
        except OSError:  # another process has just written there
            return
        if here not in folder.parent.parents:
            return
        folder = folder.parent


def check_kind(path: Path, wanted: str) -> None:
    """Refuse a path that holds anything other than `wanted`; the path may be free.

    Raises:
        StorageError: a link, a folder, ...
    """
    if os.path.lexists(path) and kind(path) != wanted:
        raise StorageError(f"{path}: is {kind(path)}, not {wanted}; remove it, or go on in another folder")


def _expanded(path: Path, key: str) -> Path:
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{key}={path}: there is no such home folder; write the path out") from error
    if "\0" in str(path):
        raise ConfigError(f"{key}: a path cannot hold the character of number 0")
    return path


def _is_checkpoint(path: Path) -> bool:
    """Whether torch.save wrote the file; a truncated file counts too."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"PK") and b"/data.pkl" in head:
        return True
    with suppress(zipfile.BadZipFile, ValueError, NotImplementedError), zipfile.ZipFile(path) as archive:
        return any(name.split("/")[-1] == "data.pkl" for name in archive.namelist())
    return False


def _try_to_write(path: Path) -> None:
    """Make and remove an empty file in the folder of `path`, or in its nearest existing parent.

    Raises:
        OSError: nothing can be written there.
    """
    folder = path.parent
    while not os.path.lexists(folder):
        folder = folder.parent
    # its name is as long as that of the temporary file
    trial = folder / f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(trial)
