"""Read files of torch.save from untrusted sources: each file is inspected before torch sees it."""

from __future__ import annotations

import io
import pickle
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from mergan.system.errors import CheckpointError, reason
from mergan.system.text import shortened, shown

MAX_ENTRIES = 100_000
MAX_STRUCTURE = 256 * 2**20  # bytes of the pickle that lists the tensors and values
MAX_DEPTH = 100
LONGEST_NAME = 255
ENTRY = re.compile(r"[\w.-]{1,100}(/[\w.-]{1,100}){0,3}", re.ASCII)
PROTOCOL = b"\x80\x02"  # the first bytes of a pickle that torch.save wrote
PLAIN = (bool, int, float, str, type(None))
ITEM_SIZE = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8,
    "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip


def read_archive(path: Path) -> Any:
    """The content of a file of torch.save: tensors on the CPU and plain values, in dicts, lists and tuples.

    Nothing in the file is executed, and reading takes no more memory than the file has bytes. The archive is
    checked before torch.load (with `weights_only=True`) reads it. Its entries must be uncompressed and
    adjacent, with matching checksums. Its structure must name only tensors whose storages are in the archive
    with exactly the size they claim.

    Returns:
        The content, with ordered dicts as plain dicts.

    Raises:
        CheckpointError: the file is missing or is not such an archive; the message says what is wrong.
    """
    import torch

    try:
        with _opened(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch; problems are errors here
            size = _look_through(file)
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        return _Plain(size).copy(content, 0)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, pickle and torch raise many kinds of errors for invalid files
        raise CheckpointError(f"not a readable checkpoint ({reason(error)})") from error


def damage(path: Path) -> str:
    """What is wrong with a file as an archive, "" if it is intact; its tensors are not read."""
    try:
        with _opened(path) as file:
            _look_through(file)
    except CheckpointError as error:
        return str(error)
    except Exception as error:  # see read_archive
        return f"not a readable checkpoint ({reason(error)})"
    return ""


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, opened only once: the inspected file is also the one read, even if the path is replaced."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)  # opening a FIFO would wait for a writer
        file = path.open("rb") if regular else None
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})") from error
    if file is None:
        raise CheckpointError("not a file")
    with file:
        yield file


def _look_through(file: BinaryIO) -> int:
    """Refuse a file that torch.save cannot have written; returns its size in bytes."""
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise CheckpointError("the file is empty")
    with zipfile.ZipFile(file) as archive:
        top = _check_entries(archive, size)
        broken = archive.testzip()
        if broken is not None:
            raise CheckpointError(f"the file is damaged ({broken!r} does not match its checksum)")
        sizes = {entry.filename.removeprefix(f"{top}/data/"): entry.file_size for entry in archive.infolist()}
        structure = archive.read(f"{top}/data.pkl")
        if not structure.startswith(PROTOCOL):
            raise CheckpointError("not a readable checkpoint (its structure is not what torch.save writes)")
        _StructureCheck(structure, sizes).load()
    return size


def _check_entries(archive: zipfile.ZipFile, size: int) -> str:
    """Refuse an archive that torch.save cannot have written; returns the name of its only folder."""
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    if not entries or len(entries) > MAX_ENTRIES:
        raise CheckpointError(f"not a readable checkpoint ({len(entries)} entries)")
    names = {entry.filename for entry in entries}
    top = entries[0].filename.split("/")[0]
    if len(top) > LONGEST_NAME or not top.isprintable():
        raise CheckpointError("not a readable checkpoint (its folder has no proper name)")
    if len(names) != len(entries) or f"{top}/data.pkl" not in names or f"{top}/constants.pkl" in names:
        raise CheckpointError("not a readable checkpoint (not the entries that torch.save writes)")
    ends = [*(entry.header_offset for entry in entries[1:]), archive.start_dir]
    for entry, end in zip(entries, ends, strict=True):
        name = entry.filename
        inside = ENTRY.fullmatch(name.removeprefix(f"{top}/"))
        if not name.startswith(f"{top}/") or inside is None or {".", ".."} & set(name.split("/")):
            raise CheckpointError(
                f"not a readable checkpoint (an entry is called {shortened(shown(name))!r})"
            )
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise CheckpointError(
                f"not a readable checkpoint ({name!r} is compressed, torch.save stores its entries)"
            )
        if entry.header_offset + 30 + len(name) + entry.file_size > end:
            raise CheckpointError(
                f"not a readable checkpoint ({name!r} is larger than its place in the file)"
            )
    if entries[0].header_offset != 0 or archive.comment or archive.start_dir >= size:
        raise CheckpointError("not a readable checkpoint (there is more in the file than the archive)")
    if archive.getinfo(f"{top}/data.pkl").file_size > MAX_STRUCTURE:
        raise CheckpointError("not a readable checkpoint (its structure is too large)")
    return top


@dataclass(frozen=True)
class _Storage:
    """A storage as described by the structure: its number of items."""

    count: int


class _Ordered(dict):
    """A stand-in for OrderedDict, because the structure may set its attributes."""


class _StructureCheck(pickle.Unpickler):
    """Reads the structure with stand-ins for tensors. No name in it is looked up.

    Args:
        structure: the pickle.
        sizes: size in bytes of each storage in the archive, by its key.
    """

    def __init__(self, structure: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(structure), encoding="utf-8")
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _check_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, requires_grad, hooks: tensor,
            ("torch", "Size"): tuple,
            ("collections", "OrderedDict"): _Ordered,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in ITEM_SIZE:
            return name
        raise CheckpointError(
            f"it holds more than tensors and plain values ({f'{module}.{name}'!r}), which could run code; "
            "it was not loaded"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(count, int) or storage not in ITEM_SIZE:
            raise CheckpointError("not a readable checkpoint (a storage of an unknown kind)")
        if count < 0 or self._sizes.get(key) != count * ITEM_SIZE[storage]:
            raise CheckpointError(
                f"not a readable checkpoint (storage {key!r} has another size than its tensors)"
            )
        return _Storage(count)


def _check_tensor(storage: _Storage, offset: int, size: Any, stride: Any, *rest: Any) -> None:
    """Refuse a tensor that has more items than its storage or lies outside it."""
    whole = all(type(number) is int and number >= 0 for number in (offset, *size, *stride))
    if not whole or len(size) != len(stride) or len(size) > 16 or prod(size) > storage.count:
        raise CheckpointError("not a readable checkpoint (a tensor is larger than its storage)")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if prod(size) > 0 and last >= storage.count:
        raise CheckpointError("not a readable checkpoint (a tensor lies outside its storage)")


class _Plain:
    """Copies nested content as plain dicts, lists and tuples.

    Args:
        budget: the maximum number of values. Without shared references a file has no more values than bytes;
            twenty lists that each hold the previous one ten times would expand to 10^20.
    """

    def __init__(self, budget: int) -> None:
        self._left = budget

    def copy(self, value: Any, depth: int) -> Any:
        """Copy the value and everything inside it."""
        import torch

        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise CheckpointError(
                "not a readable checkpoint (its values are nested too deeply, or share too much)"
            )
        if type(value) is int and value.bit_length() > 64:
            raise CheckpointError("it holds a number of more than 64 bits")
        if type(value) in PLAIN:
            return value
        if isinstance(value, torch.Tensor):
            return value.detach()
        if isinstance(value, dict):
            return {self._key(key): self.copy(entry, depth + 1) for key, entry in dict.items(value)}
        if type(value) in (list, tuple, torch.Size):
            entries = [self.copy(entry, depth + 1) for entry in value]
            return entries if type(value) is list else tuple(entries)
        raise CheckpointError(f"it holds a {type(value).__name__}, not only tensors and plain values")

    def _key(self, key: Any) -> Any:
        if type(key) not in PLAIN:
            raise CheckpointError(f"it holds a {type(key).__name__} as a key")
        return key
