"""LSUN: millions of photographs of scenes, read from the databases (LMDB) in which they are published."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import MinLen

from mergan.config.ranges import Channels, Count
from mergan.data.photographs import VERSION, Photograph, Photographs
from mergan.data.source import SPLITS, Split, digest_of
from mergan.system.errors import ConfigError, DataError
from mergan.system.text import shown

if TYPE_CHECKING:
    import lmdb

FOLDER = "lsun"  # below data.root
DATABASE = "data.mdb"  # the file of LMDB in its folder

# LSUN publishes no labels of its test photographs, so its validation photographs are the test split.
_NAMES: dict[Split, str] = {"train": "train", "test": "val"}


class LSUN(Photographs):
    """Categories of LSUN (Yu et al. 2015, arXiv 1506.03365): each is a class, in the given order.

    Reads `root/lsun/CATEGORY_train_lmdb` and, as the test split, the 300 photographs of
    `root/lsun/CATEGORY_val_lmdb`. The folders may be read-only; nothing is written beside the databases.
    The keys of a database are hashes, so its first photographs are a random part of it.

    Args:
        root: the folder of the data sets.
        channels: 1 for grey, 3 for colour.
        categories: names of categories as in the names of the folders, each once.
        max_per_class: training photographs of each category, the first ones by key; fewer if it has fewer.

    Raises:
        ConfigError: a category is no name, or is given twice.
    """

    licence = "not stated by LSUN's publishers (Yu et al. 2015); the owners of the photographs decide"
    remedy = "unpack that database again"

    def __init__(
        self,
        root: str,
        channels: Channels,
        categories: Annotated[Sequence[str], MinLen(1)],
        max_per_class: Count,
    ) -> None:
        super().__init__("lsun", channels)
        self.root = Path(root).expanduser().absolute() / FOLDER
        self._categories = [str(category) for category in categories]
        self._most: dict[Split, int | None] = {"train": max_per_class, "test": None}
        for category in self._categories:
            if not re.fullmatch(r"\w+", category) or self._categories.count(category) > 1:
                raise ConfigError(
                    f"data.source.categories: {shown(category)} is no name of a category, or is there twice; "
                    "use names such as bedroom or church_outdoor, each once"
                )

    @property
    def class_names(self) -> list[str]:
        return self._categories

    def prepare(self) -> None:
        if find_spec("lmdb") is None:
            raise DataError("data=lsun: needs lmdb; install it with pip install 'mergan[lsun]'")
        for folder in self._folders():
            if not (folder / DATABASE).is_file():
                raise DataError(
                    f"lsun: {DATABASE} not found in {folder}; unpack {folder.name}.zip of LSUN into "
                    f"{self.root}, or name another folder with data.root=... ({self._present()})"
                )

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"version {VERSION}, {self._categories}, {self._most}\n".encode())
        for folder in self._folders():
            status = (folder / DATABASE).stat()
            digest.update(f"{folder}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def identity(self) -> list[str]:
        """Digests of the keys of the photographs in use."""
        return [
            digest_of(self.name, category, *(self._keys_of(category, split) for split in SPLITS))
            for category in self._categories
        ]

    def size(self, split: Split) -> int:
        return sum(self._counts[split])

    def training_counts(self) -> list[int]:
        self.prepare()
        return self._counts["train"]

    def photographs(self, split: Split) -> Iterator[Photograph]:
        for label, category in enumerate(self._categories):
            folder = self._folder(category, split)
            with _reading(folder) as transaction:
                for key, content in islice(transaction.cursor().iternext(), self._most[split]):
                    name = bytes(key).decode("ascii", "backslashreplace")
                    yield Photograph(f"{name} in {folder}", bytes(content), label)

    @cached_property
    def _counts(self) -> dict[Split, list[int]]:
        """Photographs in use of each category."""
        return {split: [self._count(category, split) for category in self._categories] for split in SPLITS}

    def _count(self, category: str, split: Split) -> int:
        folder = self._folder(category, split)
        with _reading(folder) as transaction:
            held: int = transaction.stat()["entries"]
        if held == 0:
            raise DataError(f"lsun: {folder} holds no photographs; {self.remedy}")
        return min(held, self._most[split] or held)

    def _keys_of(self, category: str, split: Split) -> str:
        digest = hashlib.sha256()
        with _reading(self._folder(category, split)) as transaction:
            for key in islice(transaction.cursor().iternext(values=False), self._most[split]):
                digest.update(bytes(key) + b"\n")
        return digest.hexdigest()

    def _folder(self, category: str, split: Split) -> Path:
        return self.root / f"{category}_{_NAMES[split]}_lmdb"

    def _folders(self) -> list[Path]:
        return [self._folder(category, split) for category in self._categories for split in SPLITS]

    def _present(self) -> str:
        """The categories that could be used, for a message."""
        parts = [{path.name.removesuffix(f"_{name}_lmdb") for path in self.root.glob(f"*_{name}_lmdb")}
                 for name in _NAMES.values()]  # fmt: skip
        found = ", ".join(map(shown, sorted(set.intersection(*parts))))
        return f"data.source.categories there: {found}" if found else "no category is complete there"


@contextmanager
def _reading(folder: Path) -> Iterator[lmdb.Transaction]:
    """A transaction that reads the database of a folder, without locks, so that the folder may be read-only.

    Raises:
        DataError: it is broken or cut short.
    """
    import lmdb  # it is an extra

    try:
        with lmdb.open(str(folder), readonly=True, create=False, lock=False, readahead=False) as database:
            # LMDB maps the file into memory; to read beyond its end would kill the process
            pages, page_size = database.info()["last_pgno"] + 1, database.stat()["psize"]
            if (folder / DATABASE).stat().st_size < pages * page_size:
                raise DataError(f"lsun: {folder / DATABASE} is cut short; {LSUN.remedy}")
            with database.begin() as transaction:
                yield transaction
    except lmdb.Error as error:
        raise DataError(f"lsun: cannot read {folder} ({type(error).__name__}); {LSUN.remedy}") from error
