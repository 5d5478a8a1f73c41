"""Lists the pictures in a folder, each once despite links, and counts the files that are skipped."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path

from mergan.data.opening import SUFFIXES
from mergan.system.errors import DataError
from mergan.system.text import natural_order, shown

_SHOWN_KINDS = 6  # number of kinds of skipped files to list


@dataclass(frozen=True, slots=True)
class File:
    """A picture on disk.

    Attributes:
        path: the path to open.
        relative: the path below the class folder, with "/" and in Unicode normal form NFC.
        size, mtime_ns: size in bytes and modification time in nanoseconds.
        inode: device and inode number; the same for all links to one file.
    """

    path: str
    relative: str
    size: int
    mtime_ns: int
    inode: tuple[int, int]


def folders_in(folder: Path) -> list[Path]:
    """The visible folders in a folder, in natural order."""
    entries = [entry for entry in _entries(str(folder)) if not entry.name.startswith(".") and _is_dir(entry)]
    return sorted((Path(entry.path) for entry in entries), key=lambda path: natural_order(path.name))


def images_below(folder: Path, passed: Counter[str]) -> list[File]:
    """The pictures below a folder, sorted by path; each once, even if several links lead to it.

    Args:
        folder: a class folder; links to folders are followed.
        passed: counts the skipped files by kind.

    Raises:
        DataError: a folder or picture cannot be read, or something with a picture's name is not a file.
    """
    # Real folders come before links, so that links do not change the name of a picture.
    real, linked = deque([str(folder)]), deque[str]()
    seen: set[tuple[int, int]] = set()
    found: dict[tuple[int, int], File] = {}
    links = []
    while real or linked:
        parent = real.popleft() if real else linked.popleft()
        inode = _inode(_status(parent))
        if inode in seen:
            continue
        seen.add(inode)
        for entry in _entries(parent):
            if entry.name.startswith("."):
                passed["hidden"] += 1
            elif _is_dir(entry):
                (linked if entry.is_symlink() else real).append(entry.path)
            elif not _is_image(entry.name):
                passed[_suffix(entry.name)] += 1
            elif entry.is_symlink():
                links.append(entry.path)
            else:
                _add(entry.path, folder, found, passed)
    for path in sorted(links):
        _add(path, folder, found, passed)
    return sorted(found.values(), key=lambda file: (file.relative, file.path))


def _add(path: str, folder: Path, found: dict[tuple[int, int], File], passed: Counter[str]) -> None:
    status = _status(path)
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"image_folder: {shown(path)} is no regular file, remove it")
    inode = _inode(status)
    if inode in found:
        passed["linked twice"] += 1
        return
    relative = unicodedata.normalize("NFC", os.path.relpath(path, folder).replace(os.sep, "/"))
    found[inode] = File(path, relative, status.st_size, status.st_mtime_ns, inode)


def count_beside(folder: Path, passed: Counter[str]) -> None:
    """Count the files beside the class folders."""
    for entry in _entries(str(folder)):
        if entry.name.startswith("."):
            passed["hidden"] += 1
        elif not _is_dir(entry):
            passed["in no class folder" if _is_image(entry.name) else _suffix(entry.name)] += 1


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, because file systems differ in their order."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"image_folder: cannot read the folder {shown(folder)} ({error.strerror}), "
            "make it readable or remove it"
        ) from error


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:  # a broken or circular link
        raise DataError(
            f"image_folder: cannot read {shown(path)} ({error.strerror}), replace or remove it"
        ) from error


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # not a usable folder; if it looks like a picture, an error names it later


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _suffix(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return suffix if 1 < len(suffix) <= 10 else "without suffix"


def listed(passed: Counter[str]) -> str:
    """A text with the number and the kinds of skipped files."""
    kinds = sorted(passed.items(), key=lambda item: (-item[1], item[0]))
    shown_kinds = [f"{count} {shown(kind)}" for kind, count in kinds[:_SHOWN_KINDS]]
    rest = sum(count for _, count in kinds[_SHOWN_KINDS:])
    total = sum(passed.values())
    files = "1 file" if total == 1 else f"{total} files"
    return f"{files} ({', '.join([*shown_kinds, f'{rest} others'] if rest else shown_kinds)})"
