"""Images and folders as they lie about on real disks: the bad ones are named, the odd ones work."""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import warm
from PIL import Image

from mergan.cli.words import literal

FOLDER = [part for part in tiny.SETTINGS if not part.startswith("data")] + [
    "data=image_folder", "data.image_size=16", "strategy=finetune", "scenario.classes_per_task=1", "epochs=1",
]  # fmt: skip


def picture(path: Path, size: tuple[int, int] = (20, 20), mode: str = "RGB", shade: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, shade if mode in ("L", "1", "P", "I;16") else (shade,) * len(mode)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes with ten pictures each."""
    for label in ("cat", "dog"):
        for index in range(10):
            picture(tmp_path / "images" / label / f"{index}.png", shade=20 * index)
    return tmp_path / "images"


def train(root: Path, cache: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    own = [f"data.root='{root}'", f"cache_dir='{cache}'", f"hydra.run.dir='{root.parent / 'run'}'"]
    return warm.run([str(tiny.ROOT / "train.py"), *FOLDER, *own, *overrides], root.parent)


def bomb(path: Path) -> None:
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def halve(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def instead(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.png")


BROKEN: dict[str, Callable[[Path], None]] = {
    "empty": instead(b""),
    "text": instead(b"not a picture"),
    "zeros": instead(bytes(1000)),
    "header only": instead(b"\x89PNG\r\n\x1a\n"),
    "half": halve,
    "huge": bomb,
    "html": instead(b"<html><body>404 Not Found</body></html>"),
    "a pickle": instead(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."),
    "dangling link": dangle,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_picture_is_named_and_nothing_is_left_behind(root: Path, tmp_path: Path, kind: str) -> None:
    BROKEN[kind](root / "dog" / "3.png")
    result = train(root, tmp_path / "cache")
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert str(root / "dog" / "3.png") in line
    assert not (tmp_path / "run").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def remove_all_of_a_class(root: Path) -> None:
    for path in (root / "dog").iterdir():
        path.unlink()


def leave_one(root: Path) -> None:
    for path in sorted((root / "dog").iterdir())[1:]:
        path.unlink()


def only_files(root: Path) -> None:
    for label in ("cat", "dog"):
        for path in (root / label).iterdir():
            path.rename(root / f"{label}{path.name}")
        (root / label).rmdir()


def a_file(root: Path) -> None:
    os.rename(root, f"{root}_elsewhere")
    root.write_text("images")


def a_test_folder_without_dogs(root: Path) -> None:
    for label in ("cat", "dog"):
        (root / "train").mkdir(exist_ok=True)
        (root / label).rename(root / "train" / label)
    picture(root / "test" / "cat" / "0.png")


FOLDERS: dict[Callable[[Path], None], str] = {
    remove_all_of_a_class: "dog",
    leave_one: "dog",
    only_files: "images",
    a_file: "images",
    a_test_folder_without_dogs: "dog",
}


@pytest.mark.parametrize("change", FOLDERS, ids=lambda change: change.__name__)
def test_a_folder_of_another_shape_is_refused(
    root: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(root)
    result = train(root, tmp_path / "cache")
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert FOLDERS[change] in line
    assert not (tmp_path / "run").exists()


def test_another_number_of_classes_is_refused_with_the_remedy_before_decoding(
    root: Path, tmp_path: Path
) -> None:
    result = train(root, tmp_path / "cache", "data.num_classes=3")
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert "data.num_classes=3" in line and "2 classes" in line and "scenario.tasks" in line
    assert "decoding" not in result.stdout and not (tmp_path / "run").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_odd_pictures_work(root: Path, tmp_path: Path, channels: int) -> None:
    sizes = {"RGB": (1, 1), "L": (300, 7), "RGBA": (20, 20), "1": (16, 16), "P": (9, 40), "CMYK": (8, 8)}
    for mode, size in sizes.items():
        picture(root / "cat" / f"odd{mode}.{'jpg' if mode == 'CMYK' else 'png'}", size, mode, shade=1)
    picture(root / "cat" / "sixteen.png", (12, 12), "I;16", shade=40_000)
    (root / "cat" / "notes.txt").write_text("not looked at")
    (root / "cat" / ".hidden.png").write_text("nor this")
    result = train(root, tmp_path / "cache", f"data.channels={channels}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["with spaces", "ünï©ödé 猫", "a=b,c", "[1] {2} $x & 'quote'"])
def test_paths_of_all_kinds_work(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    for label in ("c=t, no 1", "日本"):
        for index in range(3):
            picture(place / "images" / label / f"{index} {name}.png", shade=50 * index)
    quoted = str(place).replace("'", "\\'")
    own = [f"data.root='{quoted}/images'", f"cache_dir='{quoted}/cache'", f"hydra.run.dir='{quoted}/run'"]
    script = str(tiny.ROOT / "train.py")
    result = warm.run([script, *FOLDER, *own], tmp_path)
    assert result.returncode == 0, result.stderr
    last = f"{quoted}/run/checkpoints/last.ckpt"
    again = warm.run([script, f"ckpt_path='{last}'"], tmp_path)
    assert again.returncode == 0, again.stderr
    assert "finished already" in again.stdout
    words = [f"checkpoint='{last}'", f"out='{quoted}/samples.npz'", "per_class=2"]
    sampled = warm.run(["-m", "mergan.sample", *words], tmp_path)
    assert sampled.returncode == 0, sampled.stderr
    # as it stands in a message, for a shell
    (word,) = shlex.split(literal("ckpt_path", str(place / "run" / "checkpoints" / "last.ckpt")))
    assert warm.run([script, word], tmp_path).returncode == 0
    assert np.load(place / "samples.npz")["images"].shape == (4, 1, 16, 16)  # grey pictures


def test_a_read_only_data_folder_works_and_a_cache_that_cannot_be_written_is_named(
    root: Path, tmp_path: Path
) -> None:
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert train(root, tmp_path / "cache").returncode == 0
    (tmp_path / "file").write_text("")
    result = train(root, tmp_path / "file" / "cache", "hydra.run.dir=other")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "cache_dir=" in line
