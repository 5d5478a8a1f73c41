"""Alterations of a checkpoint as a file: its archive and its bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from torture.sandbox import Sandbox
from torture.structure import Alteration, Content
from torture.zips import Entry, archive, entries, saved, zeros


def alterations(rng: random.Random) -> Iterator[Alteration]:
    """All of them, whatever the content."""
    for name, change in ARCHIVES.items():
        yield Alteration("archive", name, _repack(change), refused=name not in HARMLESS)
    for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.99, 0.9999):
        yield Alteration("bytes", f"cut to {share:.2%}", _cut(share), refused=True)
    for number in range(40):
        yield Alteration("bytes", f"flip {number}", _flip(rng.random(), rng.randrange(8)))
    for number in range(10):
        yield Alteration("bytes", f"zeros {number}", _blank(rng.random()))
    for name, more in (("a byte", b"x"), ("a megabyte", bytes(2**20)), ("another header", b"PK\x03\x04")):
        yield Alteration("bytes", f"with {name} behind it", _around(b"", more))
        yield Alteration("bytes", f"with {name} before it", _around(more, b""))
    yield Alteration("bytes", "twice", _bytes(lambda file: file + file))
    others = {"a text": b"hello\n", "an old pickle": b"cos\nsystem\n(Vtrue\ntR.", "zeros": bytes(10**5)}
    for name, text in others.items():
        yield Alteration("bytes", f"{name} in its place", _in_its_place(text), refused=True)


def _cut(share: float) -> Callable[[Content, Sandbox], bytes]:
    return _bytes(lambda file: file[: int(len(file) * share)])


def _blank(share: float) -> Callable[[Content, Sandbox], bytes]:
    def change(file: bytes) -> bytes:
        start = int(share * len(file))
        return file[:start] + bytes(64) + file[start + 64 :]

    return _bytes(change)


def _around(before: bytes, behind: bytes) -> Callable[[Content, Sandbox], bytes]:
    return _bytes(lambda file: before + file + behind)


def _in_its_place(text: bytes) -> Callable[[Content, Sandbox], bytes]:
    return lambda _, __: text


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Content, Sandbox], bytes]:
    return lambda content, _: change(saved(content))


def _flip(share: float, bit: int) -> Callable[[Content, Sandbox], bytes]:
    def change(file: bytes) -> bytes:
        changed = bytearray(file)
        changed[int(share * len(file))] ^= 1 << bit
        return bytes(changed)

    return _bytes(change)


def _repack(change: Callable[[list[Entry]], list[Entry]]) -> Callable[[Content, Sandbox], bytes]:
    return lambda content, _: archive(change(entries(saved(content))))


def _last(change: Callable[[Entry], Entry]) -> Callable[[list[Entry]], list[Entry]]:
    """Change one of the storages."""
    return lambda found: [change(entry) if entry.name.endswith(b"/data/1") else entry for entry in found]


def _pickle(change: Callable[[Entry], Entry]) -> Callable[[list[Entry]], list[Entry]]:
    return lambda found: [change(entry) if entry.name.endswith(b"data.pkl") else entry for entry in found]


def _named(entry: Entry, name: bytes) -> Entry:
    return replace(entry, name=name)


HARMLESS = (  # or so odd that no promise says otherwise
    "stored as it was", "in another order", "a folder", "a link", "code of TorchScript", "60000 entries",
    "another byte order", "another version", "no version",
)  # fmt: skip
ARCHIVES: dict[str, Callable[[list[Entry]], list[Entry]]] = {
    "stored as it was": lambda found: found,
    "in another order": lambda found: [found[0], *reversed(found[1:])],
    "all deflated": lambda found: [entry.deflated() for entry in found],
    "a storage deflated": _last(Entry.deflated),
    "the pickle deflated": _pickle(Entry.deflated),
    "two entries of 3 GiB of zeros": lambda found: [
        *found, zeros("archive/data/900", 3 * 2**30), zeros("archive/data/901", 3 * 2**30)],
    "3 GiB of zeros for a storage": _last(lambda entry: zeros(entry.name.decode(), 3 * 2**30)),
    "3 GiB of zeros for the pickle": _pickle(lambda entry: zeros(entry.name.decode(), 3 * 2**30)),
    "3 GiB of zeros for the version": lambda found: [
        *(entry for entry in found if not entry.name.endswith(b"/version")),
        zeros("archive/version", 3 * 2**30)],
    "a storage that claims 3 GiB": _last(lambda entry: replace(entry, size=3 * 2**30)),
    "a storage that claims 3 GiB twice": _last(
        lambda entry: replace(entry, size=3 * 2**30, claims_packed=3 * 2**30)),
    "a storage that claims nothing": _last(lambda entry: replace(entry, size=0, claims_packed=0)),
    "a storage one byte short": _last(lambda entry: Entry.stored(entry.name, entry.packed[:-1])),
    "a storage of half": _last(
        lambda entry: Entry.stored(entry.name, entry.packed[: len(entry.packed) // 2])),
    "a storage that is empty": _last(lambda entry: Entry.stored(entry.name, b"")),
    "a storage twice as long": _last(lambda entry: Entry.stored(entry.name, entry.packed * 2)),
    "a storage gone": lambda found: [entry for entry in found if not entry.name.endswith(b"/data/1")],
    "all storages gone": lambda found: [entry for entry in found if b"/data/" not in entry.name],
    "a wrong checksum": _last(lambda entry: replace(entry, crc=entry.crc ^ 1)),
    "the pickle gone": lambda found: [entry for entry in found if not entry.name.endswith(b"data.pkl")],
    "the pickle twice": lambda found: [*found, *(e for e in found if e.name.endswith(b"data.pkl"))],
    "a storage twice": lambda found: [*found, *(e for e in found if e.name.endswith(b"/data/1"))],
    "the pickle empty": _pickle(lambda entry: Entry.stored(entry.name, b"")),
    "the pickle cut": _pickle(lambda entry: Entry.stored(entry.name, entry.packed[: len(entry.packed) // 2])),
    "the pickle without its end": _pickle(lambda entry: Entry.stored(entry.name, entry.packed[:-1])),
    "the pickle of another protocol": _pickle(
        lambda entry: Entry.stored(entry.name, b"\x80\x05" + entry.packed[2:])),
    "an absolute name": lambda found: [*found, Entry.stored("/tmp/absolute", b"x")],
    "a name with ..": lambda found: [*found, Entry.stored("archive/../../outside", b"x")],
    "a name beside the folder": lambda found: [*found, Entry.stored("elsewhere/data/0", b"x")],
    "a name that is not UTF-8": lambda found: [
        *found, replace(Entry.stored(b"archive/\xff\xfe", b"x"), flags=0x800)],
    "a name with an escape": lambda found: [*found, Entry.stored("archive/\x1b[2J\n", b"x")],
    "a name of 60000 letters": lambda found: [*found, Entry.stored("archive/" + "x" * 60_000, b"x")],
    "a link": lambda found: [*found, replace(Entry.stored("archive/link", b"/etc/passwd"), mode=0o120777)],
    "a folder": lambda found: [*found, Entry.stored("archive/folder/", b"")],
    "code of TorchScript": lambda found: [*found, Entry.stored("archive/constants.pkl", b"]."),
                                          Entry.stored("archive/code/x.py", b"x = 1\n")],
    "encrypted": _last(lambda entry: replace(entry, flags=1)),
    "an unknown method": _last(lambda entry: replace(entry, method=99)),
    "bzip2 said": _last(lambda entry: replace(entry, method=12)),
    "60000 entries": lambda found: [
        *found, *(Entry.stored(f"archive/data/{9000 + i}", b"") for i in range(60_000))],
    "no entry": lambda found: [],
    "another byte order": lambda found: [
        Entry.stored(e.name, b"big") if e.name.endswith(b"byteorder") else e for e in found],
    "an unknown byte order": lambda found: [
        Entry.stored(e.name, b"middle\n") if e.name.endswith(b"byteorder") else e for e in found],
    "another version": lambda found: [
        Entry.stored(e.name, b"999\n") if e.name.endswith(b"/version") else e for e in found],
    "no version": lambda found: [e for e in found if not e.name.endswith(b"/version")],
}  # fmt: skip
