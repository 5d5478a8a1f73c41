"""Files of a run folder that somebody else may have made: read as data, or refused with one line."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from omegaconf import OmegaConf
from PIL import Image

from mergan.output import reading
from mergan.system.errors import ConfigError

READERS: dict[str, Callable[[Path], Any]] = {
    "config.yaml": reading.read_config,
    "metrics.json": reading.read_figures,
    "accuracy_matrix.csv": reading.read_matrix,
    "task_00.png": reading.check_picture,
}


def refused(name: str, path: Path) -> str:
    """The line with which a file is refused."""
    began = time.monotonic()
    with pytest.raises(ConfigError) as error:
        READERS[name](path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message and "\x1b" not in message
    assert time.monotonic() - began < 20  # no hang, no bomb
    return message


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A small PNG that promises many pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


NOISE = png(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
LAUGHS = b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (c + 1, c + 1, c, c) for c in range(97, 120))
BAD: dict[str, list[bytes]] = {
    "config.yaml": [
        b"", b"- a\n- b\n", b"word", b"a: [1, 2", b"a: 1\na: 2\n", b"\xff\xfe", b"a: \x00", b"a: \x1b[31m",
        LAUGHS, b"a: &x {b: *x}\n", b"[" * 5000, b"a: " + b"{a: " * 100, b"? [a, b]\n: 1\n",
        b"a: !!python/object/apply:os.system ['touch /tmp/ran']\n", b"a: !!python/name:os.system\n",
        b"a: !own 3\n", b"a: !!binary aGk=\n", b"a: !!int 1:1:1\n", b"a: !!float x\n", b"a: 1\n---\nb: 2\n",
        b"a: !!timestamp 2001-01-01\n", b"x" * (reading.CONFIG_LIMIT + 1),
    ],
    "metrics.json": [
        b"", b" \n", b"{", b'{"accuracy": 0.5', b"[]", b"3", b'"x"', b"null", b'{"accuracy": NaN}',
        b'{"fid": Infinity}', b'{"fid": -Infinity}', b'{"fid": 1e999}', b'{"fid": ' + b"9" * 400 + b"}",
        b'{"fid": ' + b"9" * 5000 + b"}", b'{"accuracy": "high"}', b'{"accuracy": null}',
        b'{"accuracy": true}',
        b'{"accuracy": {"a": 1}}', b'{"accuracy": [1]}', b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}",
        b'{"\\u001b[31m": []}', b"{} {}", b"\x00" * 10,
    ],
    "accuracy_matrix.csv": [
        b"", b"task\n", b"task,0\n", b"tas", b"0,0.5\n", b"task,a\n0,high\n", b"task,a\n0,\n",
        b"task,a,b\n0,0.5\n", b"task,a\n0,0.5,0.5\n", b"task,a\n1,0.5\n", b"task,a\nx,0.5\n",
        b"task,a\n0,nan\n",
        b"task,a\n0,inf\n",
        b"task,a\n0,1e999\n", b'task,a\n0,"0.5\n', b"task,a\n0,0.5\x00\n", b"task,a\n0,1_0\n", b"\xff\xfe",
        b"task," + b"x" * 200_000 + b"\n0,1\n", b"task,a\n0,0.5\n\n1,0.5\n",
    ],
    "task_00.png": [
        b"", b"text", NOISE[:-40], NOISE[: len(NOISE) // 2], NOISE[:8], bomb(60_000), bomb(8000), bomb(10),
        png(Image.new("P", (4, 4))), png(Image.new("RGBA", (4, 4))), png(Image.new("I;16", (4, 4))),
        b"GIF89a" + bytes(100),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "index"), [(name, i) for name in BAD for i in range(len(BAD[name]))])
def test_a_hostile_or_cut_file_is_refused_by_name(name: str, index: int, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(BAD[name][index])
    refused(name, path)


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    folder, fifo, link, loop, huge = (tmp_path / part / name for part in ("a", "b", "c", "d", "e"))
    folder.mkdir(parents=True)
    for path in (fifo, link, loop, huge):
        path.parent.mkdir()
    os.mkfifo(fifo)
    secret = tmp_path / "secret"
    secret.write_text("seed: 0\n")
    link.symlink_to(secret)
    loop.symlink_to(loop)
    with huge.open("wb") as file:
        file.truncate(10 * 2**30)
    assert "link" in refused(name, link)
    for path in (folder, fifo, loop, huge):
        refused(name, path)
    with pytest.raises(FileNotFoundError):
        READERS[name](tmp_path / name)


def test_a_configuration_comes_back_as_it_was_written(tmp_path: Path, cache_dir: Path) -> None:
    for overrides in ([], ["experiment=paper_mnist_joint"], ["strategy=ewc", "lr=1e-30", "epochs=[1,2]"]):
        cfg = tiny.compose(cache_dir, *overrides)
        (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
        plain = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
        assert reading.read_config(tmp_path / "config.yaml") == plain
    odd = {"a": ["1e-3", "on", "null", "~", "1_0", "0x1f", "2001-01-01", "1:20", "<<", "=", "", "a: b",
                 "ä\n"],
           "b": [1e-5, 1e22, -0.5, 10**17, True, None, float("inf")], "c": {"d": {"e": []}}}  # fmt: skip
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(odd)))
    assert reading.read_config(tmp_path / "config.yaml") == odd


def test_nothing_in_a_configuration_is_interpolated(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: ${oc.env:HOME}\nb: ${a}\n")
    assert reading.read_config(tmp_path / "config.yaml") == {"a": "${oc.env:HOME}", "b": "${a}"}


def test_whole_files_are_read(tmp_path: Path) -> None:
    figures = {"accuracy": 0.5, "steps": 10, "evaluation_split": "val", "kid": -1e-5}
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    assert reading.read_figures(tmp_path / "metrics.json") == figures
    (tmp_path / "accuracy_matrix.csv").write_text('task,"a,b",c\r\n0,1.0000,\r\n1,-0.5,7e-05\r\n', newline="")
    matrix = reading.read_matrix(tmp_path / "accuracy_matrix.csv")
    assert matrix == reading.Matrix(["a,b", "c"], [[1.0, None], [-0.5, 7e-05]])
    (tmp_path / "task_00.png").write_bytes(NOISE)
    reading.check_picture(tmp_path / "task_00.png")
