"""Folders of pictures as people have them: splits, links, names, order, and what is passed over."""

from __future__ import annotations

import logging
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import folder_of

from mergan.data.folders import split_kind
from mergan.data.image_folder import ImageFolder
from mergan.data.source import SPLITS
from mergan.system.errors import ConfigError, DataError


def pictures(folder: Path, count: int = 6, suffix: str = ".png", shade: int = 0) -> Path:
    """Pictures that all differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (8 + index, 8), (shade, 10 * index, 0)).save(folder / f"{index}{suffix}")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of six pictures."""
    for shade, name in enumerate(("cat", "dog")):
        pictures(tmp_path / "images" / name, shade=100 * shade)
    return tmp_path / "images"


def sizes(root: Path) -> tuple[int, int]:
    source = folder_of(root)
    source.prepare()
    return source.size("train"), source.size("test")


def refusal(root: Path, error: type[Exception] = DataError) -> str:
    with pytest.raises(error) as raised:
        folder_of(root).prepare()
    assert str(raised.value).isprintable()  # one line, and nothing for the terminal
    return str(raised.value)


def said(root: Path, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.INFO, "mergan"):
        source = folder_of(root)
        source.prepare()
        source.prepare()
    assert len(set(caplog.messages)) == len(caplog.messages)  # said once
    return "\n".join(caplog.messages)


def files(source: ImageFolder) -> dict[str, list[list[str]]]:
    return {
        split: [[file.path for file in of] for of in source._splits[split]] for split in ("train", "test")
    }


# ---------------------------------------------------------------- splits


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "val"), ("Train", "valid"), ("training", "validation"), ("TRAIN", "TEST"),
     ("Training", "testing"), ("train", "eval"), ("train", "dev"), ("train2017", "val2017"),
     ("train_images", "test-images"), ("trainset", "testset"), ("Training Set", "Validation Set")],
)  # fmt: skip
def test_folders_of_splits_are_known(
    train: str, test: str, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root.rename(root.parent / "old")
    for name in ("cat", "dog"):
        (root / train).mkdir(parents=True, exist_ok=True)
        (root.parent / "old" / name).rename(root / train / name)
        pictures(root / test / name, 2)
    assert sizes(root) == (12, 4)
    assert folder_of(root).class_names == ["cat", "dog"]
    assert ("is taken as the test split" in said(root, caplog)) == (split_kind(test) == "val")


def test_a_validation_folder_beside_a_test_folder_is_left_out_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split, count in (("train", 5), ("val", 3), ("test", 2)):
        pictures(tmp_path / split / "cat", count)
    assert sizes(tmp_path) == (5, 2)
    assert f"{tmp_path}/val is left out" in said(tmp_path, caplog)


@pytest.mark.parametrize("name", ["train", "Training", "TRAIN"])
def test_a_train_folder_alone_is_divided(name: str, root: Path) -> None:
    whole = root.parent / "whole"
    whole.mkdir()
    root.rename(whole / name)
    assert sizes(whole) == (10, 2)


@pytest.mark.parametrize(
    "names",
    [["train", "cat"], ["Train", "test", "cat"], ["val"], ["test", "cat"], ["valid", "cat", "dog"],
     ["train", "Train"], ["test1", "test2"]],
)  # fmt: skip
def test_a_folder_that_looks_like_a_split_is_never_a_class(names: list[str], tmp_path: Path) -> None:
    for name in names:
        pictures(tmp_path / name / ("" if name in ("cat", "dog") else "cat"))
    message = refusal(tmp_path)
    assert names[0] in message and "split" in message


def test_splits_below_the_classes_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        pictures(tmp_path / "cat" / split)
    assert "cat/train" in refusal(tmp_path)


@pytest.mark.parametrize(
    "name", ["cat", "set", "trains", "protest", "value", "developer", "train station", "", "日本"]
)
def test_other_names_are_no_splits(name: str) -> None:
    assert split_kind(name) is None


def test_a_class_may_be_called_like_a_split_below_one(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        pictures(tmp_path / "train" / name)
    assert sizes(tmp_path) == (10, 2)
    assert folder_of(tmp_path).class_names == ["bus", "train"]


# ---------------------------------------------------------------- links


def to_itself(cat: Path) -> None:
    (cat / "self").symlink_to(".")


def to_a_folder_twice(cat: Path) -> None:
    (cat / "below").mkdir()
    (cat / "0.png").rename(cat / "below" / "x.png")
    for name in ("again", "a"):
        (cat / name).symlink_to("below")


def to_a_file(cat: Path) -> None:
    (cat / "00.png").symlink_to("0.png")


def hard_to_a_file(cat: Path) -> None:
    os.link(cat / "0.png", cat / "00.png")


def in_a_circle(cat: Path) -> None:
    (cat / "x").mkdir()
    (cat / "x" / "y").symlink_to("../x")
    (cat / "x" / "z").symlink_to("../../cat")


LINKS = [to_itself, to_a_folder_twice, to_a_file, hard_to_a_file, in_a_circle]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.__name__)
def test_each_file_counts_once_whatever_the_links(link: Callable[[Path], None], root: Path) -> None:
    link(root / "cat")
    assert sizes(root) == (10, 2)
    found = files(folder_of(root))
    inodes = [os.stat(path).st_ino for split in found.values() for of in split for path in of]
    assert len(set(inodes)) == len(inodes) == 12


def test_links_to_other_places_are_followed_and_do_not_move_the_split(root: Path, tmp_path: Path) -> None:
    before = files(folder_of(root))
    (root / "dog").rename(tmp_path / "elsewhere")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "again").symlink_to(".")
    assert files(folder_of(root)) == before


SHARED: dict[str, Callable[[Path], None]] = {
    "file": lambda root: (root / "dog" / "x.png").symlink_to("../cat/0.png"),
    "hard": lambda root: os.link(root / "cat" / "0.png", root / "dog" / "x.png"),
    "folder": lambda root: (root / "dog" / "more").symlink_to("../cat"),
    "class": lambda root: (root / "pet").symlink_to("cat"),
    "above": lambda root: (root / "dog" / "up").symlink_to(".."),
}


@pytest.mark.parametrize("link", SHARED)
def test_a_picture_in_two_classes_is_refused(link: str, root: Path) -> None:
    SHARED[link](root)
    message = refusal(root)
    assert f"{root}/cat/0.png" in message and message.count(str(root)) == 2


@pytest.mark.parametrize("how", ["hard", "link", "folder"])
def test_a_picture_to_train_and_to_test_with_is_refused(how: str, root: Path) -> None:
    whole = root.parent / "whole"
    whole.mkdir()
    root.rename(whole / "train")
    if how == "folder":
        (whole / "test").symlink_to("train")
    else:
        for name in ("cat", "dog"):
            pictures(whole / "test" / name, 2, suffix="_.png")
        place = os.link if how == "hard" else os.symlink
        place(whole / "train" / "dog" / "3.png", whole / "test" / "dog" / "3.png")
    message = refusal(whole)
    assert f"{whole}/train/" in message and f"{whole}/test/" in message


@pytest.mark.parametrize("odd", ["pipe", "nowhere", "loop"])
def test_what_is_called_like_a_picture_and_is_no_file_is_named(odd: str, root: Path) -> None:
    path = root / "cat" / "x.png"
    if odd == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere.png" if odd == "nowhere" else "x.png")
    assert str(path) in refusal(root)


# ---------------------------------------------------------------- suffixes and what is passed over


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".avif", ".jp2", ".dib", ".pcx", ".qoi", ".pnm"])
def test_pictures_of_all_suffixes_are_taken(suffix: str, root: Path) -> None:
    for shade, name in enumerate(("cat", "dog")):
        pictures(root / name, 4, suffix, 100 * shade)
    assert sizes(root) == (16, 4)
    chunks = list(folder_of(root).chunks("train", 8))
    assert chunks[0][0].shape == (16, 3, 8, 8)


def test_what_is_passed_over_is_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "cat/a.HEIC",
        "cat/b.heic",
        "dog/notes.txt",
        "dog/.hidden.png",
        "top.png",
        "README",
        "dog/a.svg",
    ):
        (root / name).write_text("")
    message = said(root, caplog)
    assert "passed over" in message and "7 files" in message
    for part in ("2 .heic", "1 .txt", "1 .svg", "1 hidden", "1 in no class folder", "1 without suffix"):
        assert part in message
    caplog.clear()
    for index in range(9):
        (root / "cat" / f"x.t{index}").write_text("")
    assert "16 files (2 .heic" in (message := said(root, caplog)) and "others" in message


def test_nothing_is_said_where_nothing_is_passed_over(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "passed over" not in said(root, caplog)


# ---------------------------------------------------------------- names and order


@pytest.mark.parametrize(
    "name", [b"b\xff", b"b\x1b[31m", b"a\nb", "a\u2028b".encode(), b"\x7f", "a\u0085".encode()]
)
def test_names_for_no_line_are_refused(name: bytes, root: Path) -> None:
    (root / "dog").rename(Path(os.fsdecode(os.fsencode(root) + b"/" + name)))
    assert "rename it" in refusal(root)


def test_files_may_be_called_anything(root: Path) -> None:
    for index, name in enumerate((b"\xff.png", b"a\nb.png", "日本.png".encode(), b"$x_$.png")):
        (root / "cat" / f"{index}.png").rename(Path(os.fsdecode(os.fsencode(root) + b"/cat/" + name)))
    assert sizes(root) == (10, 2)
    source = folder_of(root)
    assert len(source.fingerprint()) == 64 and len(set(source.identity())) == 2
    (root / "dog" / "bad\x1b[31m.png").write_text("no picture")
    broken = folder_of(root)
    with pytest.raises(DataError) as error:
        [list(broken.chunks(split, 8)) for split in SPLITS]
    assert r"bad\x1b[31m.png" in str(error.value)


def test_the_normal_form_of_a_name_does_not_matter(root: Path) -> None:
    composed, split = "\u00e9t\u00e9", "e\u0301te\u0301"
    (root / "dog").rename(root / split)
    mac = folder_of(root)
    assert mac.class_names == ["cat", composed]
    identity, found = mac.identity(), files(mac)
    (root / split).rename(root / composed)
    linux = folder_of(root)
    assert linux.class_names == mac.class_names and linux.identity() == identity
    composed_paths = {split: [[unicodedata.normalize("NFC", path) for path in of] for of in parts]
                      for split, parts in found.items()}  # fmt: skip
    assert files(linux) == composed_paths


def test_two_normal_forms_of_one_name_are_refused(root: Path) -> None:
    pictures(root / "e\u0301")
    pictures(root / "\u00e9")
    assert "\u00e9" in refusal(root)


def test_names_that_differ_in_case_are_two_classes(root: Path) -> None:
    pictures(root / "Cat")
    assert folder_of(root).class_names == ["Cat", "cat", "dog"]


def test_numbers_are_sorted_as_numbers_and_the_order_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 13):
        pictures(tmp_path / str(number), 2)
    assert folder_of(tmp_path).class_names == [str(number) for number in range(1, 13)]
    assert "12 + 12 images of 12 classes: 0 1, 1 2, 2 3" in said(tmp_path, caplog)
    for number in range(13, 60):
        pictures(tmp_path / str(number), 2)
    caplog.clear()
    assert "8 9, 9 10, ..., 58 59" in said(tmp_path, caplog)


# ---------------------------------------------------------------- the split of our own, the identity


def test_a_class_is_divided_whatever_the_others_are_and_wherever_it_lies(root: Path, tmp_path: Path) -> None:
    before = files(folder_of(root))
    pictures(root / "ant")
    after = files(folder_of(root))
    assert all(after[split][1:] == before[split] for split in before)
    shutil.rmtree(root / "ant")
    moved = tmp_path / "elsewhere"
    shutil.copytree(root, moved)
    there = files(folder_of(moved))
    for split in SPLITS:
        assert [[path.replace(str(moved), str(root)) for path in of] for of in there[split]] == before[split]


def test_one_picture_more_moves_one_other_at_most(tmp_path: Path) -> None:
    pictures(tmp_path / "cat", 40)
    before = {path for (of,) in [files(folder_of(tmp_path))["test"]] for path in of}
    Image.new("RGB", (9, 9)).save(tmp_path / "cat" / "new.png")
    after = {path for (of,) in [files(folder_of(tmp_path))["test"]] for path in of}
    assert len(before ^ after) <= 2


def test_identity_follows_the_images_and_nothing_else(root: Path, tmp_path: Path) -> None:
    identity = folder_of(root).identity()
    shutil.copytree(root, tmp_path / "moved", copy_function=shutil.copyfile)  # with new times
    elsewhere = folder_of(tmp_path / "moved", channels=1, background="black", white=255)
    assert elsewhere.identity() == identity and len(set(identity)) == 2
    Image.new("RGB", (50, 50)).save(root / "cat" / "0.png")
    changed = folder_of(root).identity()
    assert changed[0] != identity[0] and changed[1] == identity[1]
    (root / "dog" / "0.png").unlink()
    assert folder_of(root).identity()[1] != identity[1]


def test_what_decides_on_the_pixels_is_in_the_fingerprint(root: Path) -> None:
    prints = {
        folder_of(root, **settings).fingerprint()  # type: ignore[arg-type]
        for settings in ({}, {"background": "black"}, {"white": 255}, {"test_fraction": 0.5})
    }
    assert len(prints) == 4
    assert folder_of(root, background="#fff").fingerprint() == folder_of(root).fingerprint()


@pytest.mark.parametrize("white", [0, -1, float("inf"), float("nan"), "bright"])
def test_a_white_that_is_none_is_refused(white: float, root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.source\.white"):
        folder_of(root, white=white)


def test_no_test_picture_is_trained_on(root: Path) -> None:
    (root / "cat" / "self").symlink_to(".")
    source = folder_of(root)
    train, test = (
        np.concatenate([images for images, _ in source.chunks(split, 8)]) for split in ("train", "test")
    )
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
