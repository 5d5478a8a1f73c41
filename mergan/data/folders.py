"""Finds the pictures in a folder with their classes and splits, each file once."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mergan.data.files import File, count_beside, folders_in, images_below, listed
from mergan.system.errors import DataError
from mergan.system.text import natural_order, shown

Kind = Literal["train", "val", "test"]

# Names of split folders, ignoring case; "train_images" and "val2017" are recognised too.
_WORDS: dict[str, Kind] = {
    **dict.fromkeys(("train", "training", "trainval", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "eval", "evaluation", "dev"), "val"),
    **dict.fromkeys(("development", "holdout", "heldout"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_FILLERS = frozenset(
    ("set", "sets", "data", "dataset", "split", "images", "image", "imgs", "img", "pictures", "folder", "dir")
)


@dataclass
class Found:
    """The contents of a folder.

    Attributes:
        names: names of the classes, in Unicode normal form NFC and in natural order.
        train: the training pictures of each class.
        test: the test pictures of each class; None if there is no test folder.
        notes: notes for the user about the folder, one line each.
    """

    names: list[str]
    train: list[list[File]]
    test: list[list[File]] | None = None
    notes: list[str] = field(default_factory=list)


def find(root: Path) -> Found:
    """Search `root/CLASS/...`, or `root/train/CLASS/...` and `root/test/CLASS/...`.

    Raises:
        DataError: the folder has another layout, no pictures, or the same picture twice.
    """
    passed: Counter[str] = Counter()
    train, test, notes = _layout(root, passed)
    names, files = _classes(train, passed)
    found = Found(names, files, notes=notes)
    if test is not None:
        test_names, found.test = _classes(test, passed)
        if names != test_names:
            odd = shown(min(set(names) ^ set(test_names), key=natural_order))
            folders = f"{shown(str(train))} and {shown(str(test))}"
            raise DataError(f"image_folder: class {odd} must have images in both {folders}")
    _refuse_shared([*files, *(found.test or [])])
    if passed:
        found.notes.append(f"passed over in {shown(str(root))}: {listed(passed)}")
    return found


def split_kind(name: str) -> Kind | None:
    """The split that a folder of this name usually holds, ignoring case; None for other names."""
    words = re.findall(r"[^\W\d_]+", unicodedata.normalize("NFKC", name).casefold())
    words = [word.removesuffix("set") or word for word in words if word not in _FILLERS]
    return _WORDS.get(words[0]) if len(words) == 1 else None


def _layout(root: Path, passed: Counter[str]) -> tuple[Path, Path | None, list[str]]:
    """The folders with the training and the test classes, and notes about them."""
    kinds: dict[Kind, Path] = {}
    others = []
    for folder in folders_in(root):
        kind = split_kind(folder.name)
        if kind is None:
            others.append(folder)
        elif kind in kinds:
            raise DataError(
                f"image_folder: {shown(str(kinds[kind]))} and {shown(folder.name)} both look like the {kind} "
                f"split; keep one of them, or put folders that are classes into {shown(str(root))}/train"
            )
        else:
            kinds[kind] = folder
    if not kinds:
        return root, None, []
    first = next(iter(kinds.values()))
    mixed = next((folder for folder in others if images_below(folder, passed)), None)
    if "train" not in kinds or mixed is not None:
        beside = "no train folder" if mixed is None else f"the folder {shown(mixed.name)}"
        raise DataError(
            f"image_folder: {shown(str(first))} looks like a split, but there is {beside} beside it; "
            f"put the class folders into {shown(str(root))}/train (and /test), or rename it"
        )
    count_beside(root, passed)
    train, test, val = kinds["train"], kinds.get("test"), kinds.get("val")
    notes = []
    if val is not None and test is not None:
        notes.append(f"{shown(str(val))} is left out, {shown(test.name)} is the test split")
    elif val is not None:
        test = val
        notes.append(f"{shown(str(val))} is taken as the test split, there is no folder test")
    return train, test, notes


def _classes(folder: Path, passed: Counter[str]) -> tuple[list[str], list[list[File]]]:
    """Names of the classes in natural order, and the pictures of each."""
    folders: dict[str, Path] = {}
    for item in folders_in(folder):
        name = _class_name(item)
        if name in folders:
            raise DataError(
                f"image_folder: two folders in {shown(str(folder))} are called {shown(name)}, in two normal "
                "forms of Unicode; rename one or put their images together"
            )
        folders[name] = item
    if not folders:
        raise DataError(
            f"image_folder: no class folders with images in {shown(str(folder))}, "
            f"expected {shown(str(folder))}/CLASS/*.png"
        )
    count_beside(folder, passed)
    names = sorted(folders, key=natural_order)
    files = []
    for name in names:
        _refuse_splits_below(folders[name])
        files.append(images_below(folders[name], passed))
        if not files[-1]:
            raise DataError(
                f"image_folder: no images in {shown(str(folders[name]))}, put some there or remove the folder"
            )
    return names, files


def _class_name(folder: Path) -> str:
    name = unicodedata.normalize("NFC", folder.name)
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise DataError(
            f"image_folder: the folder {shown(str(folder))} has control characters or bytes that are not "
            "UTF-8 in its name, rename it"
        )
    return name


def _refuse_splits_below(folder: Path) -> None:
    """Refuse CLASS/train and CLASS/test, because their images would be mixed."""
    kinds = {split_kind(item.name): item for item in folders_in(folder)}
    if "train" in kinds and len(set(kinds) - {None}) > 1:
        raise DataError(
            f"image_folder: {shown(str(kinds['train']))} looks like a split below a class; "
            "splits lie above the classes, as train/CLASS and test/CLASS"
        )


def _refuse_shared(classes: Iterable[list[File]]) -> None:
    """Refuse a picture that is in several classes or splits."""
    owners: dict[tuple[int, int], str] = {}
    for files in classes:
        for file in files:
            other = owners.setdefault(file.inode, file.path)
            if other != file.path:
                raise DataError(
                    f"image_folder: {shown(other)} and {shown(file.path)} are one file through a link, but a "
                    "picture has one class and is for training or for testing; remove one of them"
                )
