"""LSUN, CelebA and CIFAR-100, from files in their own formats; the one line that broken ones end with."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
import tiny
import warm
from PIL import Image
from test_data_sources import read, source_of
from torchvision.datasets import CIFAR100

from mergan.data import cache, photographs
from mergan.data.source import SPLITS, Source
from mergan.system.errors import ConfigError, DataError

CATEGORIES = ("bedroom", "kitchen", "church_outdoor", "tower")
RED, GREEN = (200, 30, 30), (30, 200, 30)


def encoded(side: tuple[int, int, int], middle: tuple[int, int, int], kind: str) -> bytes:
    """A photograph of 48 x 32 pixels whose middle square has another colour than its sides."""
    picture = Image.new("RGB", (48, 32), side)
    picture.paste(middle, (8, 0, 40, 32))
    file = io.BytesIO()
    picture.save(file, kind, quality=95)
    return file.getvalue()


def write_lmdb(folder: Path, content: dict[bytes, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as transaction:
        for key, value in content.items():
            transaction.put(key, value)
    (folder / "lock.mdb").unlink()  # the published archives may lack it


@pytest.fixture
def lsun(tmp_path: Path) -> Path:
    """data.root with four categories: three training photographs (the second is green) and two others."""
    for label, category in enumerate(CATEGORIES):
        keys = [hashlib.sha1(f"{category} {number}".encode()).hexdigest().encode() for number in range(5)]
        blue = encoded(RED, (0, 0, 60 * label), "WEBP")
        train = dict(zip(sorted(keys[:3]), (blue, encoded(RED, GREEN, "JPEG"), blue), strict=True))
        write_lmdb(tmp_path / "lsun" / f"{category}_train_lmdb", train)
        write_lmdb(tmp_path / "lsun" / f"{category}_val_lmdb", dict.fromkeys(keys[3:], blue))
    return tmp_path


def lsun_of(root: Path, **settings: object) -> Source:
    return source_of("lsun", root=str(root), **settings)


def decode(source: Source) -> None:
    """Do with a source what the cache does."""
    source.prepare()
    source.fingerprint()
    for split in SPLITS:
        source.size(split)
        list(source.chunks(split, 16))


def refused(source: Source) -> str:
    """The line with which reading a source ends."""
    with pytest.raises((DataError, ConfigError)) as caught:
        decode(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_lsun_gives_the_middle_of_each_photograph_by_category_and_key(lsun: Path) -> None:
    before = sorted(lsun.rglob("*"))
    source = lsun_of(lsun)
    source.prepare()
    assert source.class_names == list(CATEGORIES) and (source.size("train"), source.size("test")) == (12, 8)
    assert source.training_counts() == [3] * 4
    images, labels = read(source, "train", 16)
    assert images.shape == (12, 3, 16, 16) and labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    colours = images.mean(axis=(2, 3))
    assert abs(colours[1::3] - GREEN).max() < 8
    assert abs(colours[[0, 2, 3, 5, 6, 8, 9, 11], 2] - np.repeat([0, 60, 120, 180], 2)).max() < 8
    assert colours[0::3, 0].max() < 8  # nothing of the sides
    assert read(source, "test", 16)[1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sorted(lsun.rglob("*")) == before  # no lock file


def test_lsun_takes_the_first_photographs_of_a_category(lsun: Path) -> None:
    settings = {"source.max_per_class": 2, "source.categories": "[tower,kitchen]", "channels": 1}
    source = lsun_of(lsun, **settings)
    assert source.class_names == ["tower", "kitchen"] and source.training_counts() == [2, 2]
    images, labels = read(source, "train", 16)
    assert images.shape == (4, 1, 16, 16) and labels.tolist() == [0, 0, 1, 1]
    assert images[1].mean() > images[0].mean()  # green comes second
    assert source.size("test") == 4


def test_photographs_are_decoded_a_chunk_at_a_time(lsun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(lsun_of(lsun), "train", 16)[0]
    monkeypatch.setattr(photographs, "CHUNK", 5)
    chunks = [images for images, _ in lsun_of(lsun).chunks("train", 16)]
    assert list(map(len, chunks)) == [5, 5, 2] and np.array_equal(np.concatenate(chunks), whole)


def test_lsun_is_told_apart_by_its_keys_and_its_limit(lsun: Path, tmp_path: Path) -> None:
    here, fewer = lsun_of(lsun), lsun_of(lsun, **{"source.max_per_class": 2})
    before, identity = here.fingerprint(), here.identity()
    assert before == lsun_of(lsun).fingerprint() != fewer.fingerprint() and len(set(identity)) == 4
    assert not set(identity) & set(fewer.identity())
    (tmp_path / "elsewhere").mkdir()
    (lsun / "lsun").rename(tmp_path / "elsewhere" / "lsun")
    there = lsun_of(tmp_path / "elsewhere")
    assert there.identity() == identity and there.fingerprint() != before


def test_lsun_that_is_not_there_is_one_line_with_a_remedy(lsun: Path, tmp_path: Path) -> None:
    line = refused(lsun_of(tmp_path / "nowhere"))
    for word in (f"{tmp_path}/nowhere/lsun/bedroom_train_lmdb", "bedroom_train_lmdb.zip", "data.root=..."):
        assert word in line
    line = refused(lsun_of(lsun, **{"source.categories": "[bedroom,bedrom]"}))
    assert "bedrom_train_lmdb" in line
    assert "data.source.categories there: bedroom, church_outdoor, kitchen, tower" in line
    (lsun / "lsun" / "tower_val_lmdb" / "data.mdb").unlink()
    assert "unpack tower_val_lmdb.zip" in refused(lsun_of(lsun))


@pytest.mark.parametrize("categories", ["[bedroom,bedroom]", "[../bedroom]"])
def test_categories_that_are_no_names_are_refused(categories: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.source\.categories: .* is no name of a category"):
        lsun_of(tmp_path, **{"source.categories": categories})


def test_lsun_without_its_package_names_the_extra(lsun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert refused(lsun_of(lsun)) == "data=lsun: needs lmdb; install it with pip install 'mergan[lsun]'"


@pytest.mark.parametrize("kept", [0, 100, 5000, 10_000, -4096])
def test_a_database_that_is_cut_short_is_named(kept: int, lsun: Path) -> None:
    """Reading beyond its end would kill the process."""
    file = lsun / "lsun" / "kitchen_train_lmdb" / "data.mdb"
    file.write_bytes(file.read_bytes()[:kept])
    line = refused(lsun_of(lsun))
    assert "kitchen_train_lmdb" in line and line.endswith("; unpack that database again")


def test_databases_with_other_content_are_named(lsun: Path) -> None:
    other = lsun / "lsun" / "kitchen_val_lmdb" / "data.mdb"
    whole = other.read_bytes()
    other.write_bytes(b"no database at all" * 1000)
    assert "kitchen_val_lmdb (InvalidError); unpack" in refused(lsun_of(lsun))
    other.write_bytes(whole)
    folder = lsun / "lsun" / "bedroom_train_lmdb"
    (folder / "data.mdb").unlink()
    write_lmdb(folder, {})
    assert f"{folder} holds no photographs" in refused(lsun_of(lsun))
    write_lmdb(folder, {b"ab\x1b": encoded(RED, GREEN, "JPEG")[:200]})
    line = refused(lsun_of(lsun))
    assert f"cannot decode ab\\x1b in {folder}" in line and "\x1b" not in line
    write_lmdb(folder, {b"ab\x1b": b"GIF89a, which LSUN does not hold"})
    assert "UnidentifiedImageError" in refused(lsun_of(lsun))


def test_a_broken_photograph_ends_the_command_before_it_writes(lsun: Path, tmp_path: Path) -> None:
    write_lmdb(lsun / "lsun" / "tower_train_lmdb", {b"0" * 40: b"\xff\xd8\xff\xe0 no more of the JPEG"})
    words = ["data=lsun", f"data.root={lsun}", f"hydra.run.dir={tmp_path / 'run'}", "epochs=1"]
    result = warm.run([str(tiny.ROOT / "train.py"), *words], tmp_path)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1 and f"lsun: cannot decode {'0' * 40} in" in result.stderr
    assert not (tmp_path / "run").exists() and not list((tmp_path / "cache").glob("*.npy"))


# ---------------------------------------------------------------- CelebA

FACES = {"000001.jpg": 0, "000002.jpg": 0, "000003.jpg": 1, "000004.jpg": 2, "000005.jpg": 2}  # partition
SMILING = {"000001.jpg": 1, "000002.jpg": -1, "000003.jpg": 1, "000004.jpg": -1, "000005.jpg": 1}


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """data.root with five faces; those that smile are green. One is for validation."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rows = [f"{file} -1 {value:>2} -1" for file, value in SMILING.items()]
    (folder / "list_attr_celeba.txt").write_text("\n".join(["5", "Bald Smiling Young ", *rows, ""]))
    lines = [f"{file} {kind}" for file, kind in FACES.items()]
    (folder / "list_eval_partition.txt").write_text("\n".join([*lines, ""]))
    for file, value in SMILING.items():
        content = encoded(RED, GREEN if value > 0 else (0, 0, 0), "JPEG")
        (folder / "img_align_celeba" / file).write_bytes(content)
    return tmp_path


def celeba_of(root: Path, **settings: object) -> Source:
    return source_of("celeba", root=str(root), **settings)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_celeba_has_two_classes_by_one_attribute(celeba: Path) -> None:
    source = celeba_of(celeba)
    source.prepare()
    assert source.class_names == ["not_Smiling", "Smiling"]
    assert source.training_counts() == [1, 1] and source.size("test") == 2
    for split, names in (("train", [1, 2]), ("test", [4, 5])):
        images, labels = read(source, split, 16)
        assert labels.tolist() == [SMILING[f"00000{name}.jpg"] > 0 for name in names]
        assert (images[:, 1].mean(axis=(1, 2)) > 150).tolist() == labels.astype(bool).tolist()


def test_celeba_is_told_apart_by_its_faces(celeba: Path) -> None:
    folder = celeba / "celeba"
    before, identity = celeba_of(celeba).fingerprint(), celeba_of(celeba).identity()
    assert celeba_of(celeba).fingerprint() == before and identity[0] != identity[1]
    (folder / "img_align_celeba" / "000002.jpg").write_bytes(encoded(RED, RED, "JPEG"))
    assert celeba_of(celeba).fingerprint() != before and celeba_of(celeba).identity() == identity
    change(folder / "list_eval_partition.txt", "000003.jpg 1", "000003.jpg 0")
    changed = celeba_of(celeba).identity()
    assert changed[0] == identity[0] and changed[1] != identity[1]


def test_an_unknown_attribute_is_refused_with_what_was_meant(celeba: Path) -> None:
    line = refused(celeba_of(celeba, **{"source.attribute": "smiling"}))
    assert line.startswith("data.source.attribute=smiling: ") and line.endswith("did you mean Smiling?")
    line = refused(celeba_of(celeba, **{"source.attribute": "xyz"}))
    assert line.endswith(f"line 2 of {celeba}/celeba/list_attr_celeba.txt lists them")
    line = refused(celeba_of(celeba, **{"source.attribute": "Bald"}))
    assert line == "data.source.attribute=Bald: no train picture of CelebA is Bald; name another attribute"


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"])
def test_a_missing_part_of_celeba_is_named(name: str, celeba: Path) -> None:
    (celeba / "celeba" / name).rename(celeba / "elsewhere")
    line = refused(celeba_of(celeba))
    assert line.startswith(f"celeba: {name} not found in {celeba}/celeba; put ") and "data.root=..." in line


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("list_attr_celeba.txt", "000002.jpg -1 -1", "000002.jpg -1  0", "line 4 is '000002.jpg -1  0 -1'"),
        ("list_attr_celeba.txt", "000002.jpg -1", "000002.jpg", "line 4 is "),
        ("list_attr_celeba.txt", "000002.jpg", "../0002.jpg", "line 4 is "),
        ("list_eval_partition.txt", "000002.jpg 0", "000002.jpg 7", "line 2 is '000002.jpg 7'"),
        ("list_eval_partition.txt", "000002.jpg", "000009.jpg", "has no line for 000002.jpg"),
    ],
)
def test_a_broken_list_of_celeba_is_named_with_its_line(
    name: str, old: str, new: str, said: str, celeba: Path
) -> None:
    change(celeba / "celeba" / name, old, new)
    line = refused(celeba_of(celeba))
    assert f"{celeba}/celeba/{name} {said}" in line and line.endswith("; put CelebA's own file there")


def test_faces_that_are_missing_or_broken_are_named(celeba: Path, tmp_path: Path) -> None:
    folder = celeba / "celeba" / "img_align_celeba"
    (folder / "000005.jpg").write_bytes(b"cut short")
    with pytest.raises(DataError, match=r"cannot decode .*/000005\.jpg \(UnidentifiedImageError\); unpack"):
        cache.load(celeba_of(celeba), "test", 16, tmp_path / "cache")
    (folder / "000005.jpg").unlink()
    assert "celeba: 000005.jpg is missing in" in refused(celeba_of(celeba))


# ---------------------------------------------------------------- CIFAR-100


def test_cifar_100_is_read_from_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    names = source_of("cifar100").class_names
    batch = {"data": pixels.reshape(3, -1), "fine_labels": [99, 0, 47], "coarse_labels": [13, 4, 17]}
    content = {"train": batch, "test": batch, "meta": {"fine_label_names": names}}
    sums = {}
    for file, values in content.items():
        (folder / file).write_bytes(pickle.dumps(values))
        sums[file] = hashlib.md5((folder / file).read_bytes()).hexdigest()
    source = source_of("cifar100", root=str(tmp_path), download=False)
    source.prepare()
    with pytest.raises(DataError, match="CIFAR100: broken files in"):  # an unknown pickle is not opened
        source.size("train")
    for split in ("train", "test"):
        monkeypatch.setattr(CIFAR100, f"{split}_list", [(split, sums[split])])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": sums["meta"]})
    images, labels = read(source, "test", 32)
    assert np.array_equal(images, pixels) and labels.tolist() == [99, 0, 47]
    assert (len(set(names)), names[0], names[47], names[99]) == (100, "apple", "maple_tree", "worm")
