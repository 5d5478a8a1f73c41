"""A folder of PNG files, `CLASS/00000.png`, as tools for FID and torchvision's ImageFolder read it."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mergan.output.formats.base import Format, Samples
from mergan.output.places import check_output_folder
from mergan.output.tables import comma_separated
from mergan.system.errors import ConfigError
from mergan.system.folders import replacing_folder
from mergan.system.text import shown

INDEX = "samples.csv"  # which class is in which folder; a folder with it was written by this module
COLUMNS = ["label", "class", "folder", "images"]
IMAGE = re.compile(r"([0-9]{5,9})\.png", re.ASCII)
FORBIDDEN = frozenset('/\\:*?"<>|')  # in the name of a file, on one system or another
LONGEST = 100  # characters of a folder's name; in UTF-8 each takes at most four of 255 bytes ...
MOST_BYTES = 200


class ClassFolders(Format):
    """A folder per class, and `samples.csv`, which says which class is in which folder.

    A folder is called as its class if that is a name for a folder on every system. Otherwise the name is
    changed, and begins with the number of the class.
    """

    def check(self, out: Path, overwrite: bool) -> Path:
        out = check_output_folder(out)
        there = f"out={out}"
        if out.is_symlink():
            raise ConfigError(f"{there}: is a link; name the folder itself, or another one")
        if Path.cwd().is_relative_to(out.resolve()):
            raise ConfigError(f"{there}: is the working folder or holds it; name another one")
        if out.is_dir() and any(out.iterdir()):
            if not overwrite:
                raise ConfigError(
                    f"{there}: the folder is not empty; name another one, or replace samples there with "
                    "overwrite=true"
                )
            if (found := foreign(out)) is not None:
                raise ConfigError(
                    f"{there}: holds {shown(str(found.relative_to(out)))}, which this command did not write; "
                    "name another folder"
                )
        return out

    def write(self, samples: Sequence[Samples], out: Path, overwrite: bool) -> list[str]:
        from PIL import Image

        (own,) = samples
        drawn = dict(zip(own.labels, own.images, strict=True))  # a class may have been requested twice
        folders = folder_names(own.class_names, list(drawn))
        count = own.images.shape[1] * own.images.shape[2]
        lines = [COLUMNS]
        with replacing_folder(out, foreign) as made:
            for label, images in drawn.items():
                lines.append([str(label), own.class_names[label], folders[label], str(count)])
                (made / folders[label]).mkdir()
                for number, image in enumerate(images.reshape(-1, *images.shape[2:])):
                    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
                    Image.fromarray(pixels).save(made / folders[label] / f"{number:05d}.png")
            (made / INDEX).write_text(comma_separated(lines), encoding="utf-8")
        changed = [label for label in drawn if folders[label] != own.class_names[label]]
        renamed = f"; {len(changed)} have another name there, see {INDEX}" if changed else ""
        all_images = f"{count * len(drawn):,} images of {len(drawn)} classes"
        return [f"{all_images} written to {out}/CLASS/NUMBER.png{renamed}"]


def folder_names(class_names: Sequence[str], labels: Sequence[int]) -> dict[int, str]:
    """A name for the folder of each class, different in more than capital letters.

    Names of classes come from data sets and checkpoints of others. No folder is called by a path, a hidden
    or an invisible name.

    Args:
        class_names: names of all classes.
        labels: the classes that need a folder.

    >>> folder_names(["cat", "Cat", "../x", "b/c"], [0, 1, 2, 3])
    {0: 'cat', 1: '1_Cat', 2: '2__._x', 3: '3_b_c'}
    """
    chosen: dict[int, str] = {}
    taken: set[str] = set()
    tame = {label: _tamed(class_names[label]) for label in labels}
    for label in sorted(labels, key=lambda label: (tame[label] != class_names[label], label)):
        name = tame[label] if tame[label] == class_names[label] else f"{label}_{tame[label]}"
        if _folded(name) in taken:
            name = f"{label}_{tame[label]}"
        while _folded(name) in taken:
            name += "_"
        taken.add(_folded(name))
        chosen[label] = name
    return {label: chosen[label] for label in labels}


def _tamed(name: str) -> str:
    """The name itself if a folder may have it everywhere; otherwise a similar one."""
    tame = "".join("_" if shown(sign) != sign or sign in FORBIDDEN else sign for sign in name)[:LONGEST]
    while len(tame.encode()) > MOST_BYTES:
        tame = tame[:-1]
    tame = re.sub(r"^[.~ -]|[. ]$", "_", tame)
    return _tamed(f"_{name}") if _folded(tame) == INDEX or not tame else tame


def _folded(name: str) -> str:
    """Equal for names that a file system may take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def foreign(folder: Path) -> Path | None:
    """The first entry of a folder that this module did not write; None if all of it is its own."""
    counts = _index(folder / INDEX)
    for entry in sorted(folder.iterdir()):
        if entry.name == INDEX and counts:
            continue
        if entry.name not in counts or entry.is_symlink() or not entry.is_dir():
            return entry
        for file in sorted(entry.iterdir()):
            found = IMAGE.fullmatch(file.name)
            own = found is not None and int(found[1]) < counts[entry.name]
            if not own or file.is_symlink() or not file.is_file():
                return file
    return None


def _index(path: Path) -> dict[str, int]:
    """How many images an index says that each folder holds; nothing if it is no index."""
    if path.is_symlink() or not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        return {folder: int(images) for _, _, folder, images in rows} if header == COLUMNS else {}
    except (ValueError, csv.Error):
        return {}
