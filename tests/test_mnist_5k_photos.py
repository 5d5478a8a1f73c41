"""The embedded colour pictures: digits on photographs, the same everywhere, and a run on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from mergan import config
from mergan.config.instantiate import part
from mergan.data import mnist_5k_photos
from mergan.data.mnist_5k import MNIST5k
from mergan.data.source import SPLITS, Split
from mergan.system.errors import DataError

FIRST_HUNDRED = (115.6, 115.3, 113.3)  # mean red, green and blue


def source(channels: int = 3) -> mnist_5k_photos.MNIST5kPhotos:
    made = part("data.source", "data=mnist_5k_photos", channels=channels)
    assert isinstance(made, mnist_5k_photos.MNIST5kPhotos)
    return made


def read(split: Split, size: int = 16, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(source(channels).chunks(split, size))
    return np.concatenate([images for images, _ in chunks]), np.concatenate([labels for _, labels in chunks])


def test_every_class_has_as_many_pictures_as_promised() -> None:
    for split, per_class in zip(SPLITS, (1600, 200), strict=True):
        images, labels = read(split)
        assert images.shape == (source().size(split), 3, 16, 16) and images.dtype == np.uint8
        assert np.bincount(labels).tolist() == [per_class] * 10


def test_pictures_are_the_same_in_every_process_and_for_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = read("test")
    monkeypatch.setattr(mnist_5k_photos, "CHUNK", 300)
    again, labels_again = read("test")
    assert np.array_equal(images, again) and np.array_equal(labels, labels_again)
    # a change of the pictures needs a new VERSION
    assert images[:100].mean(axis=(0, 2, 3)) == pytest.approx(FIRST_HUNDRED, abs=0.5)


def test_the_digit_is_the_difference_between_picture_and_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = read("test", size=28)
    digits, classes = MNIST5k(channels=1).read("test")
    monkeypatch.setattr(MNIST5k, "read", lambda *_: (np.zeros_like(digits), classes))
    patches, _ = read("test", size=28)
    blended = np.abs(patches.astype(int) - np.tile(digits, (2, 1, 1, 1)))
    assert np.array_equal(images, blended) and np.array_equal(labels, np.tile(classes, 2))


def test_backgrounds_have_all_hues_and_many_colours() -> None:
    images, _ = read("test")
    corners = images[:, :, :3, :3].mean(axis=(2, 3))
    brightest, darkest = corners.argmax(axis=1), corners.argmin(axis=1)
    coloured = corners.max(axis=1) - corners.min(axis=1) > 30
    assert coloured.mean() > 0.3
    pairs = {(int(high), int(low)) for high, low in zip(brightest[coloured], darkest[coloured], strict=True)}
    assert len(pairs) == 6  # each third of the colour circle in both halves


def test_turning_the_hue_keeps_the_brightness_and_no_turn_keeps_the_picture() -> None:
    patches = np.random.default_rng(0).integers(100, 156, (4, 3, 5, 5), dtype=np.uint8)
    same = mnist_5k_photos._hue_turned(patches, np.zeros(4))
    assert np.abs(same.astype(int) - patches).max() <= 1
    turned = mnist_5k_photos._hue_turned(patches, np.array([1.0, 2.0, 3.0, 4.0]))
    luma = np.array([0.299, 0.587, 0.114])
    before, after = (np.einsum("nchw,c->nhw", images, luma) for images in (patches, turned))
    assert np.abs(before - after).max() < 1.5
    assert np.abs(turned.astype(int) - patches).mean() > 5


def test_no_pixel_of_a_photograph_is_in_both_splits() -> None:
    photograph = np.zeros((200, 512, 3), dtype=np.uint8)
    photograph[:, 256:384] = 255  # the part of the test patches
    draws = np.random.default_rng(0).random((300, 6))
    extremes = np.concatenate([draws, np.zeros((1, 6)), np.full((1, 6), 1 - 1e-9)])
    for draw in extremes:
        assert mnist_5k_photos._patch([photograph], "train", 16, draw).max() == 0
        assert mnist_5k_photos._patch([photograph], "test", 16, draw).min() == 255


def test_grey_is_the_brightness_of_the_coloured_picture() -> None:
    colour, _ = read("test")
    grey, _ = read("test", channels=1)
    luma = np.einsum("nchw,c->nhw", colour, np.array([0.299, 0.587, 0.114]))
    assert np.abs(grey[:, 0] - luma).max() < 1


def test_a_missing_photograph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_5k_photos, "PHOTOGRAPHS", (("no_such_package", "moon.jpg"),))
    with pytest.raises(DataError, match=r"package no_such_package .*moon\.jpg is missing; run make install"):
        source().prepare()


def test_a_stream_of_two_tasks_learns_in_colour(tmp_path: Path) -> None:
    settings = [word for word in tiny.SETTINGS if not word.startswith("data")]
    own = ["data=mnist_5k_photos", "data.image_size=16", "scenario.tasks=[[0,1],[2,3]]", "epochs=1"]
    cfg = config.compose(*settings, *own, "evaluation.metrics.fid=null", f"cache_dir={tmp_path}")
    config.check(cfg)
    run = tiny.build(cfg, tmp_path / "run").fit()
    assert run.data.pool.shape == {"num_classes": 10, "channels": 3, "image_size": 16}
    assert set(run.evaluation.matrices["accuracy"][-1]) == {0, 1, 2, 3}
    assert (tmp_path / "run" / "samples" / "task_01.png").is_file()
