"""Alterations of a checkpoint's pickle: foreign code in it, and objects that grow when they are walked."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from torture.hostile import RUN, filled
from torture.sandbox import MODULE, Sandbox
from torture.structure import Alteration, Content
from torture.zips import Entry, archive, entries, saved

MARK = "@@HERE@@"
MARKED = b"X" + struct.pack("<I", len(MARK)) + MARK.encode()  # as protocol 2 pickles it
SPOTS = ("mergan.config.network.generator.width", "mergan.class_names", "epoch", "mergan.config")


def alterations(content: Content) -> Iterator[Alteration]:
    """All of them for this content."""
    for number, (name, code) in enumerate(PICKLES.items()):
        where = SPOTS[number % len(SPOTS)]
        yield Alteration("pickle", f"{name} for {where}", _splice(where, code), refused=True)
    for where in (*SPOTS[:2], "loops", "optimizer_states", "callbacks", "state_dict.@"):
        yield Alteration("bomb", f"shared lists for {where}", _put(where, _shared(list)))
        yield Alteration("bomb", f"shared dicts for {where}", _put(where, _shared(dict)))
        yield Alteration("bomb", f"400 deep for {where}", _put(where, _deep))


def spliced(content: Content, where: str, code: bytes) -> bytes:
    """A file whose pickle has foreign code in place of one value."""
    marked = _marked(content, where)
    found = [
        Entry.stored(entry.name, entry.packed.replace(MARKED, code))
        if entry.name.endswith(b"data.pkl")
        else entry
        for entry in entries(saved(marked))
    ]
    return archive(found)


def _marked(content: Content, where: str) -> Content:
    node: Any = content
    *names, last = where.split(".")
    for name in names:
        node = node[name]
    node[last] = MARK
    return content


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _storage(key: str, size: bytes) -> bytes:
    """A reference to a storage of the archive."""
    return (
        b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text(key) + _text("cpu") + b"J" + size + b"tQ"
    )


PICKLES: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda run: b"cos\nsystem\n" + _text(run) + b"\x85R",
    "posix.system by STACK_GLOBAL": lambda run: (
        _text("posix") + _text("system") + b"\x93" + _text(run) + b"\x85R"),
    "builtins.eval by INST": lambda run: (
        b"(" + _text(f"__import__('os').system({run!r})") + b"ibuiltins\neval\n"),
    "subprocess.Popen by OBJ": lambda run: b"(csubprocess\nPopen\n" + _text(f"exec {run}") + b"o",
    "a module of the working directory": lambda run: f"c{MODULE}\nGenerator\n)R".encode(),
    "a class of the project": lambda run: b"cmergan.checkpoint\nTrainedGenerator\n",
    "a function of torch": lambda run: b"ctorch\nload\n" + _text("/etc/passwd") + b"\x85R",
    "torch._utils": lambda run: b"ctorch._utils\n_rebuild_tensor_v2\n)R",
    "numpy": lambda run: b"cnumpy.core.multiarray\n_reconstruct\n)R",
    "getattr": lambda run: b"cbuiltins\ngetattr\ncos\nsystem\n" + _text("__call__") + b"\x86R",
    "BUILD": lambda run: b"}" + _text("a") + b"K\x01sb",
    "an extension": lambda run: b"\x82\x01",
    "a persistent id": lambda run: _text("somewhere") + b"Q",
    "a storage beyond the archive": lambda run: (
        _storage("999", b"\x00\x00\x00\x10")
    ),
    "a storage of negative size": lambda run: (
        _storage("0", b"\xff\xff\xff\xff")
    ),
    "a foreign opcode": lambda run: b"\xff",
    "an empty stack": lambda run: b"00000000",
    "a memo that is not there": lambda run: b"j\xff\xff\xff\x7f",
    "a frame": lambda run: b"\x95" + b"\xff" * 8 + b"N",
    "a text of 4 GiB": lambda run: b"X\xff\xff\xff\xff",
    "a number of a million digits": lambda run: b"\x8b" + struct.pack("<I", 10**6) + b"\x7f" * 10**6,
    "a list 100000 deep": lambda run: b"]" * 100_000 + b"a" * 99_999,
    "dicts 100000 deep": lambda run: b"}K\x01" * 99_999 + b"}" + b"s" * 99_999,
    "tuples 5000 deep": lambda run: b")" + b"\x85" * 5000,
    "a list that holds itself": lambda run: b"]r\xff\xff\xff\x7fj\xff\xff\xff\x7fa",
}  # fmt: skip


def _splice(where: str, code: Callable[[str], bytes]) -> Callable[[Content, Sandbox], bytes]:
    return lambda content, sandbox: spliced(content, where, code(filled(RUN, sandbox)))


def _put(where: str, make: Callable[[], Any]) -> Callable[[Content, Sandbox], Content]:
    def change(content: Content, _: Sandbox) -> Content:
        node: Any = content
        *names, last = where.split(".")
        for name in names:
            node = node[name]
        node[last] = make()
        return content

    return change


def _shared(kind: type) -> Callable[[], Any]:
    """Ten times ten times ten ...: 10**20 values in a few hundred bytes."""

    def make() -> Any:
        value: Any = kind()
        for _ in range(20):
            value = [value] * 10 if kind is list else {f"key_{number}": value for number in range(10)}
        return value

    return make


def _deep() -> Any:
    value: Any = {}
    for number in range(400):
        value = {"a": value} if number % 2 else [value]
    return value
