"""Zip files as torch.save writes them, and as it never would."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import Any

import torch

STORED, DEFLATED = 0, 8
PIECE = 2**20


@dataclass(frozen=True)
class Entry:
    """One entry of an archive, and what is said of it."""

    name: bytes
    packed: bytes
    size: int
    crc: int
    method: int = STORED
    flags: int = 0
    claims_packed: int | None = None  # another size than it has, said in the directory
    mode: int = 0

    @classmethod
    def stored(cls, name: str | bytes, content: bytes) -> Entry:
        """An entry as torch.save writes it."""
        raw = name.encode() if isinstance(name, str) else name
        return cls(raw, content, len(content), zlib.crc32(content))

    def deflated(self) -> Entry:
        """The same, packed."""
        packer = zlib.compressobj(wbits=-15)
        return replace(self, packed=packer.compress(self.packed) + packer.flush(), method=DEFLATED)


def zeros(name: str, size: int) -> Entry:
    """An entry that inflates to `size` zeros, made in little time and memory."""
    packer = zlib.compressobj(level=9, wbits=-15)
    first = packer.compress(bytes(PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = first + piece * (size // PIECE - 1) + packer.flush()
    return Entry(name.encode(), packed, size, 0, DEFLATED)


def archive(entries: list[Entry], comment: bytes = b"") -> bytes:
    """A zip file of these entries, whatever they claim."""
    body, directory = io.BytesIO(), io.BytesIO()
    for entry in entries:
        packed = len(entry.packed) if entry.claims_packed is None else entry.claims_packed
        facts = struct.pack("<HHHHHIII", 20, entry.flags, entry.method, 0, 33, entry.crc, packed, entry.size)
        names = struct.pack("<HH", len(entry.name), 0)
        directory.write(b"PK\x01\x02" + struct.pack("<H", 0x314) + facts + names)
        directory.write(struct.pack("<HHHII", 0, 0, 0, entry.mode << 16, body.tell()) + entry.name)
        body.write(b"PK\x03\x04" + facts + names + entry.name + entry.packed)
    start, listed = body.tell(), directory.getvalue()
    body.write(listed)
    ends = (0, 0, len(entries), len(entries), len(listed), start, len(comment))
    body.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", *ends) + comment)
    return body.getvalue()


def saved(content: dict[str, Any]) -> bytes:
    """The file that torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def entries(file: bytes) -> list[Entry]:
    """The entries of such a file."""
    with zipfile.ZipFile(io.BytesIO(file)) as source:
        return [Entry.stored(info.filename, source.read(info)) for info in source.infolist()]
