"""Sources: what they deliver, and the one line they fail with."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from omegaconf import OmegaConf
from PIL import Image
from tiny import folder_of

from mergan.config.instantiate import part
from mergan.data import denormalise, normalise
from mergan.data.pixels import fit
from mergan.data.source import Source, Split
from mergan.data.splits import hold_out
from mergan.data.synthetic import Synthetic
from mergan.system.errors import ConfigError, DataError

CONF = tiny.ROOT / "conf" / "data"


def source_of(name: str, **settings: object) -> Source:
    """The source of conf/data/NAME.yaml with other values below `data`."""
    source = part("data.source", f"data={name}", *(f"data.{key}={value}" for key, value in settings.items()))
    assert isinstance(source, Source)
    return source


def read(source: Source, split: Split, image_size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(source.chunks(split, image_size))
    return np.concatenate([images for images, _ in chunks]), np.concatenate([labels for _, labels in chunks])


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_image(path: Path, value: int | tuple[int, ...], mode: str = "RGB", width: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, 8), value).save(path)


@pytest.mark.parametrize("config", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_builds_what_it_describes(config: Path) -> None:
    loaded = OmegaConf.load(config)
    channels = loaded.channels or 3  # the pictures in a folder decide
    source = source_of(config.stem, root="nowhere", download=False, channels=channels)
    assert source.channels == channels
    if config.stem != "image_folder":
        assert len(source.class_names) == loaded.num_classes


def test_normalise_and_denormalise_undo_each_other() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    floats = normalise(bytes_)
    assert floats.dtype == torch.float32
    assert [floats.min().item(), floats.max().item()] == [-1.0, 1.0]
    assert torch.equal(denormalise(floats), bytes_)
    assert denormalise(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_fit_converts_channels_and_size() -> None:
    colour = np.zeros((2, 3, 10, 14), dtype=np.uint8)
    colour[:, 0] = 200
    grey = fit(colour, 1, 16)
    assert grey.shape == (2, 1, 16, 16)
    assert np.unique(grey).tolist() == [60]  # 0.299 * 200
    assert fit(grey, 3, 16).shape == (2, 3, 16, 16)
    assert fit(grey, 1, 16) is grey


def test_fit_scales_down_with_antialiasing() -> None:
    stripes = np.zeros((1, 1, 64, 64), dtype=np.uint8)
    stripes[..., ::2] = 255
    inner = fit(stripes, 1, 16)[0, 0, :, 2:-2]
    assert abs(inner.astype(int) - 127).max() < 8  # without it stripes would show as moire


def test_mnist_5k_has_400_and_100_of_each_digit() -> None:
    source = source_of("mnist_5k")
    source.prepare()
    train, train_labels = read(source, "train")
    test, test_labels = read(source, "test")
    assert (source.size("train"), source.size("test")) == (4000, 1000)
    assert train.shape == (4000, 1, 32, 32) and train.dtype == np.uint8
    assert test.shape == (1000, 1, 32, 32) and test_labels.dtype == np.int64
    assert np.bincount(train_labels).tolist() == [400] * 10
    assert np.bincount(test_labels).tolist() == [100] * 10
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_mnist_5k_in_colour_repeats_the_grey_value() -> None:
    images, _ = next(source_of("mnist_5k", channels=3).chunks("test", 28))
    assert images.shape[1:] == (3, 28, 28)
    assert np.array_equal(images[:, 0], images[:, 2])


def test_synthetic_is_deterministic_and_its_classes_differ() -> None:
    def make() -> Synthetic:
        return Synthetic(num_classes=10, channels=3, train_per_class=30, test_per_class=20, seed=5)

    train, train_labels = read(make(), "train", 16)
    test, test_labels = read(make(), "test", 16)
    assert np.array_equal(train, read(make(), "train", 16)[0])
    assert train.shape == (300, 3, 16, 16) and np.bincount(test_labels).tolist() == [20] * 10
    assert not np.array_equal(train[0], train[10])
    means = np.stack([train[train_labels == c].mean(axis=0) for c in range(10)])
    distance = ((test[:, None].astype(float) - means) ** 2).sum(axis=(2, 3, 4))
    assert (distance.argmin(axis=1) == test_labels).mean() > 0.9


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_idx_files_that_lie_there_are_used_as_they_are(name: str, tmp_path: Path) -> None:
    folder = tmp_path / source_of(name).name / "raw"
    digits = np.arange(5 * 28 * 28).reshape(5, 28, 28) % 251
    for prefix in ("train", "t10k"):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", digits)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.array([3, 1, 4, 1, 5]))
    before = sorted(tmp_path.rglob("*"))
    source = source_of(name, root=str(tmp_path), download=True)
    source.prepare()
    images, labels = read(source, "train", 28)
    assert np.array_equal(images[:, 0], digits)
    assert labels.tolist() == [3, 1, 4, 1, 5]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["mnist", "svhn", "cifar10"])
def test_missing_data_is_one_line_with_a_remedy(name: str, tmp_path: Path) -> None:
    source = source_of(name, root=str(tmp_path), download=False)
    with pytest.raises(DataError) as error:
        source.prepare()
    message = str(error.value)
    assert "\n" not in message
    for word in (source.name, str(tmp_path), "data=mnist_5k", "data.download=true"):
        assert word in message


def test_failing_download_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "MNIST").write_text("a file where the folder would be, so that nothing is fetched")
    with pytest.raises(DataError) as error:
        source_of("mnist", root=str(tmp_path), download=True).prepare()
    message = str(error.value)
    assert "\n" not in message
    for word in ("MNIST", str(tmp_path), "download failed", "data=mnist_5k"):
        assert word in message


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0\0\0\x05", b"no idx file at all"])
def test_broken_idx_files_name_their_folder(content: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    for prefix in ("train", "t10k"):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", np.zeros((5, 28, 28)))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.zeros(5))
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=r"MNIST: broken files in .*raw") as error:
        source_of("mnist", root=str(tmp_path)).size("train")
    assert "\n" not in str(error.value)


def test_idx_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    for prefix in ("train", "t10k"):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", np.zeros((5, 28, 28)))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.zeros(4))
    with pytest.raises(DataError, match="5 images but 4 labels"):
        source_of("mnist", root=str(tmp_path)).size("train")


@pytest.mark.parametrize(
    ("name", "file"), [("svhn", "train_32x32.mat"), ("cifar10", "cifar-10-batches-py/test_batch")]
)
def test_broken_mat_and_pickle_files_name_their_folder(name: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"cut short")
    with pytest.raises(DataError, match=str(tmp_path)) as error:
        source_of(name, root=str(tmp_path)).size("train")
    assert "\n" not in str(error.value)


def test_image_folder_splits_each_class_the_same_way_every_time(tmp_path: Path) -> None:
    for i in range(10):
        write_image(tmp_path / "cat" / f"{i}.png", (10 * i, 0, 0), width=8 + i)
        write_image(tmp_path / "ant" / "more" / f"{i}.PNG", 100 + 10 * i, mode="L")
    (tmp_path / "notes.txt").write_text("not an image")
    source = folder_of(tmp_path)
    source.prepare()
    assert source.class_names == ["ant", "cat"]
    train, train_labels = read(source, "train", 8)
    test, test_labels = read(source, "test", 8)
    assert train.shape == (16, 3, 8, 8) and test_labels.tolist() == [0, 0, 1, 1]
    values = np.concatenate([train[:, 0, 0, 0], test[:, 0, 0, 0]])
    assert sorted(values.tolist()) == sorted([10 * i for i in range(10)] + [100 + 10 * i for i in range(10)])
    assert np.array_equal(read(folder_of(tmp_path), "test", 8)[0], test)
    assert set(train[train_labels == 1][:, 1].ravel()) == {0}  # colour stays colour


def test_image_folder_reduces_colour_to_grey(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_image(tmp_path / split / "a" / "0.png", (200, 0, 0))
        write_image(tmp_path / split / "b" / "0.tif", 257 * 70, mode="I;16")
    images, labels = read(folder_of(tmp_path, channels=1), "test", 4)
    assert images.shape == (2, 1, 4, 4)
    assert (images[0].max(), images[1].max()) == (60, 70)
    assert labels.tolist() == [0, 1]


def test_image_folder_names_the_file_that_cannot_be_decoded(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "0.png", (0, 0, 0))
    (tmp_path / "a" / "1.png").write_bytes((tmp_path / "a" / "0.png").read_bytes()[:40])
    source = folder_of(tmp_path)
    with pytest.raises(DataError, match=r"a/1\.png"):
        read(source, "train"), read(source, "test")


def test_image_folder_without_images_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/nowhere"):
        folder_of(tmp_path / "nowhere").prepare()
    with pytest.raises(DataError, match=str(tmp_path)):
        folder_of(tmp_path).prepare()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"{tmp_path}/empty"):
        folder_of(tmp_path).prepare()


def test_image_folder_wants_the_same_classes_in_train_and_test(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "a" / "0.png", (0, 0, 0))
    write_image(tmp_path / "train" / "b" / "0.png", (0, 0, 0))
    write_image(tmp_path / "test" / "a" / "0.png", (0, 0, 0))
    with pytest.raises(DataError, match="class b"):
        folder_of(tmp_path).prepare()


def test_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / "a" / f"{i}.png", (i, 0, 0))
    before = folder_of(tmp_path).fingerprint()
    assert folder_of(tmp_path).fingerprint() == before
    write_image(tmp_path / "a" / "2.png", (9, 9, 9))
    assert folder_of(tmp_path).fingerprint() != before


def test_other_channels_than_grey_and_colour_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.source\.channels=2: use 1 or 3"):
        source_of("mnist_5k", channels=2)


def test_identity_tells_data_sets_apart_and_does_not_follow_their_place(tmp_path: Path) -> None:
    for place, digits in (("here", 5), ("there", 5), ("other", 6)):
        for prefix in ("train", "t10k"):
            folder = tmp_path / place / "MNIST" / "raw"
            write_idx(folder / f"{prefix}-images-idx3-ubyte", np.zeros((digits, 28, 28)))
            write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.zeros(digits))
    here, there, other = (
        source_of("mnist", root=str(tmp_path / place)).identity() for place in ("here", "there", "other")
    )
    assert here == there != other and len(here) == 10
    assert source_of("mnist_5k").identity() == source_of("mnist_5k", channels=3).identity()
    synthetic = [source_of("synthetic", num_classes=count).identity() for count in (3, 4)]
    assert len(synthetic[0]) == 3 and synthetic[0] != synthetic[1][:3]


def test_a_class_too_small_is_called_by_its_name() -> None:
    labels = np.array([0, 0, 0, 1])
    with pytest.raises(DataError, match=r"class dog\\x1b has only 1"):
        hold_out(labels, 0.5, ["cat", "dog\x1b"])
    with pytest.raises(DataError, match="class 1 has only 1"):
        hold_out(labels, 0.5)
