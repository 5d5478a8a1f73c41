"""Alterations of what a run folder holds beside a checkpoint: its configuration, figures and logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from torture.hostile import NODES, RUN, filled
from torture.sandbox import VARIABLE, Sandbox
from torture.structure import Alteration, Content

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
TAG = f"!!python/object/apply:os.system ['{RUN}']\n"
CONFIGURATIONS: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "not YAML": lambda text: "{[",
    "a list": lambda text: "- 1\n",
    "binary": lambda text: "\x00\x01\x7f" * 1000,
    "an escape": lambda text: f'"\\e[2J": 1\n{text}',
    "a Python object": lambda text: f"{text}extra: {TAG}",
    "a Python object alone": lambda text: TAG,
    "ten thousand million laughs": lambda text: LAUGHS + text,
    "an interpolated cache_dir": lambda text: text.replace(
        "cache_dir: ", f"cache_dir: leak_${{oc.env:{VARIABLE}}}"),
    "a list 20000 deep": lambda text: "[" * 20_000,
}  # fmt: skip
FIGURES: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"accuracy": 0.',
    "a list": b"[1]",
    "not UTF-8": b"\xff\xfe{}",
    "no figure": b"{}",
    "other types": b'{"accuracy": "\\u001b[2J", "recall": null}',
    "100000 deep": b"[" * 100_000,
    "NaN": b'{"accuracy": NaN, "train_seconds": -Infinity}',
}
LOGS: dict[str, bytes] = {
    "empty": b"",
    "only a header": b"epoch,step\n",
    "no step": b"epoch,loss\n0,1\n",
    "words for numbers": b"epoch,step,a\nx,y,z\n",
    "long rows": b"epoch,step\n0,1,2,3,4\n",
    "short rows": b"epoch,step,a,b\n0\n",
    "a huge step": b"epoch,step\n0,99999999999999999999999\n",
    "not UTF-8": b"epoch,step\n\xff,\xfe\n",
    "zeros": bytes(10**5),
    "a field of a megabyte": b"epoch,step,a\n0,0," + b"x" * 10**6 + b"\n",
    "one column twice": b"epoch,step,step\n0,0,1\n",
}


def alterations() -> Iterator[Alteration]:
    """All of them; the checkpoint itself stays whole, and who does not read the file need not refuse it."""
    for name, change in CONFIGURATIONS.items():
        yield Alteration("beside", f"config.yaml, {name}", _configuration(change))
    for name in NODES:
        yield Alteration("beside", f"config.yaml, generator = {name}", _node(name))
    for file, contents in (("metrics.json", FIGURES), ("metrics.csv", LOGS), ("accuracy_matrix.csv", LOGS)):
        for name, content in contents.items():
            yield Alteration("beside", f"{file}, {name}", _file(file, content))
    for file in ("metrics.json", "metrics.csv", "config.yaml", ".lock", "samples", "tensorboard"):
        yield Alteration("beside", f"{file}, the other kind of entry", _other_kind(file))


def _configuration(change: Callable[[str], str]) -> Callable[[Content, Sandbox], Content]:
    def make(content: Content, sandbox: Sandbox) -> Content:
        path = sandbox.given / "config.yaml"
        path.write_text(filled(change(path.read_text(encoding="utf-8")), sandbox), encoding="utf-8")
        return content

    return make


def _node(name: str) -> Callable[[Content, Sandbox], Content]:
    def make(content: Content, sandbox: Sandbox) -> Content:
        path = sandbox.given / "config.yaml"
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        config["network"]["generator"] = filled(NODES[name], sandbox)
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return content

    return make


def _file(name: str, text: bytes) -> Callable[[Content, Sandbox], Content]:
    def make(content: Content, sandbox: Sandbox) -> Content:
        (sandbox.given / name).write_bytes(text)
        return content

    return make


def _other_kind(name: str) -> Callable[[Content, Sandbox], Content]:
    """A folder where a file should be, or the other way round."""

    def make(content: Content, sandbox: Sandbox) -> Content:
        path: Path = sandbox.given / name
        folder = name in ("samples", "tensorboard")
        if path.is_dir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_text("a file") if folder else path.mkdir()
        return content

    return make
