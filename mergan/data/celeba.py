"""CelebA: faces of celebrities, in two classes: those without an attribute and those with it."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from mergan.config.ranges import Channels
from mergan.data.photographs import VERSION, Photograph, Photographs
from mergan.data.source import SPLITS, Split, digest_of
from mergan.system.errors import ConfigError, DataError
from mergan.system.text import shortened, shown

FOLDER = "celeba"  # below data.root
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
PICTURES = "img_align_celeba"

_FILE = re.compile(r"\w+\.jpg")
_LABELS = {"-1": 0, "1": 1}
_KINDS: dict[str, Split | None] = {"0": "train", "1": None, "2": "test"}  # 1: for validation, left out

Faces = dict[str, int]  # label by file name


class CelebA(Photographs):
    """CelebA (Liu et al. 2015, arXiv 1411.7766), aligned and cropped, by one of its 40 attributes.

    Reads `root/celeba`: `list_attr_celeba.txt`, `list_eval_partition.txt` and the folder `img_align_celeba`.
    The partition decides which faces are for training and for testing; those for validation are left out.

    Args:
        root: the folder of the data sets.
        channels: 1 for grey, 3 for colour.
        attribute: name of the attribute, e.g. Smiling. Class 0 is `not_Smiling`, class 1 `Smiling`.
    """

    licence = "for non-commercial research only (CelebA; Liu et al. 2015)"
    remedy = f"unpack {PICTURES}.zip again"

    def __init__(self, root: str, channels: Channels, attribute: str) -> None:
        super().__init__("celeba", channels)
        self.root = Path(root).expanduser().absolute() / FOLDER
        self._attribute = attribute

    @property
    def class_names(self) -> list[str]:
        return [f"not_{self._attribute}", self._attribute]

    def prepare(self) -> None:
        for name, found in ((ATTRIBUTES, Path.is_file), (PARTITION, Path.is_file), (PICTURES, Path.is_dir)):
            if not found(self.root / name):
                raise DataError(
                    f"celeba: {name} not found in {self.root}; put {ATTRIBUTES}, {PARTITION} and the folder "
                    f"{PICTURES} there, or name another folder with data.root=..."
                )

    def fingerprint(self) -> str:
        return self._fingerprint

    def identity(self) -> list[str]:
        return [
            digest_of(
                self.name,
                *(file for split in SPLITS for file, of in self._splits[split].items() if of == label),
                *(sum(of == label for of in self._splits[split].values()) for split in SPLITS),
            )
            for label in range(len(self.class_names))
        ]

    def size(self, split: Split) -> int:
        return len(self._splits[split])

    def training_counts(self) -> list[int]:
        self.prepare()
        with_it = sum(self._splits["train"].values())
        return [self.size("train") - with_it, with_it]

    def photographs(self, split: Split) -> Iterator[Photograph]:
        folder = self.root / PICTURES
        for file, label in self._splits[split].items():
            try:
                content = (folder / file).read_bytes()
            except OSError as error:
                raise DataError(
                    f"celeba: cannot read {folder / file} ({error.strerror}); {self.remedy}"
                ) from error
            yield Photograph(str(folder / file), content, label)

    @cached_property
    def _splits(self) -> dict[Split, Faces]:
        """The faces of both splits, in the order of the list of attributes."""
        kinds = self._partition()
        splits: dict[Split, Faces] = {split: {} for split in SPLITS}
        for file, label in self._labelled():
            if file not in kinds:
                raise self._broken(PARTITION, f"has no line for {shown(file)}")
            kind = kinds[file]
            if kind is not None:
                splits[kind][file] = label
        for split in SPLITS:
            for label, name in enumerate(self.class_names):
                if label not in splits[split].values():
                    raise DataError(
                        f"data.source.attribute={self._attribute}: no {split} picture of CelebA is {name}; "
                        "name another attribute"
                    )
        return splits

    def _labelled(self) -> Iterator[tuple[str, int]]:
        """File name and label of each face: a line with the count, one with the names, then one per face."""
        lines = self._lines(ATTRIBUTES)
        names = lines[1].split() if len(lines) > 1 else []
        if self._attribute not in names:
            near = difflib.get_close_matches(self._attribute, names, 1)
            listed = f"line 2 of {self.root / ATTRIBUTES} lists them"
            raise ConfigError(
                f"data.source.attribute={shown(self._attribute)}: CelebA has no such attribute; "
                + (f"did you mean {shown(near[0])}?" if near else listed)
            )
        column = 1 + names.index(self._attribute)
        for number, line in enumerate(lines[2:], 3):
            words = line.split()
            if len(words) != 1 + len(names) or not _FILE.fullmatch(words[0]) or words[column] not in _LABELS:
                raise self._broken(ATTRIBUTES, f"line {number} is {_quoted(line)}")
            yield words[0], _LABELS[words[column]]

    def _partition(self) -> dict[str, Split | None]:
        """The split of each face; None: neither."""
        kinds = {}
        for number, line in enumerate(self._lines(PARTITION), 1):
            file, _, kind = line.strip().partition(" ")
            if kind not in _KINDS:
                raise self._broken(PARTITION, f"line {number} is {_quoted(line)}")
            kinds[file] = _KINDS[kind]
        return kinds

    def _lines(self, name: str) -> list[str]:
        try:
            return (self.root / name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise self._broken(name, f"cannot be read ({type(error).__name__})") from error

    def _broken(self, name: str, what: str) -> DataError:
        return DataError(f"celeba: {self.root / name} {what}; put CelebA's own file there")

    @cached_property
    def _fingerprint(self) -> str:
        """A digest of the labels and of name, size and time of each picture."""
        folder = self.root / PICTURES
        with os.scandir(folder) as entries:
            found = {entry.name: entry.stat() for entry in entries}
        digest = hashlib.sha256(f"version {VERSION}, {folder}, {self._attribute}\n".encode())
        for split in SPLITS:
            for file, label in self._splits[split].items():
                if file not in found:
                    raise DataError(f"celeba: {file} is missing in {folder}; {self.remedy}")
                status = found[file]
                digest.update(f"{split}\0{file}\0{label}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def _quoted(line: str) -> str:
    return f"'{shortened(shown(line))}'"
