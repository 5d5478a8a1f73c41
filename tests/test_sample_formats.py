"""What `mergan sample` writes: arrays, pictures, films and folders, and what it never touches."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import warm
from hypothesis import given, settings, strategies
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder

from mergan import config
from mergan.cli import first_word
from mergan.evaluation.interpolation import sample_paths, slerp
from mergan.evaluation.sampling import sample_class
from mergan.output import formats
from mergan.output.formats import FORMATS, Samples, class_folders
from mergan.output.plots import style
from mergan.run import experiment
from mergan.run.sampling import sample
from mergan.system.errors import CheckpointError, ConfigError, StorageError
from mergan.system.folders import replacing_folder

HOSTILE = ["../up", "a/b", "A", "a", "", ".", "<script>", "$x$", "日本", "x\x1b[2J", "samples.csv", "e" * 300]


@pytest.fixture(scope="module")
def run_folder(compose: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks: the classes 2 and 0, then 3 and 1."""
    folder = tmp_path_factory.mktemp("run")
    experiment.run(compose("scenario.tasks=[[2,0],[3,1]]"), folder)
    return folder


def write(run: Path, out: Path | str, **settings: object) -> None:
    cfg = config.compose(name="sample")
    cfg.update({"checkpoint": str(run), "out": str(out), **settings})
    sample(cfg)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def some(names: list[str], per_class: int = 2, steps: int = 1) -> Samples:
    """Samples of all of these classes, every image different."""
    shape = (len(names), per_class, steps, 1, 16, 16)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    labels = range(len(names))
    return Samples(images, labels, names, "after task 1 of 1", ["task 1"] * len(names))


# ---------------------------------------------------------------- the formats


def test_arrays_name_the_classes_and_are_the_same_every_time(run_folder: Path, tmp_path: Path) -> None:
    for name in ("a.npz", "b.NPZ"):
        write(run_folder, tmp_path / name, per_class=3)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.NPZ").read_bytes()
    found = arrays(tmp_path / "a.npz")
    assert found["class_names"].tolist() == ["0", "1", "2", "3"] and found["class_names"].dtype.kind == "U"
    assert found["images"].shape == (12, 1, 16, 16)
    FORMATS[".npz"].write([some(HOSTILE)], tmp_path / "c.npz", False)
    assert arrays(tmp_path / "c.npz")["class_names"].tolist() == HOSTILE


def test_all_formats_hold_the_same_images(run_folder: Path, tmp_path: Path) -> None:
    for name in ("a.npz", "a.png", "a/"):
        write(
            run_folder, f"{tmp_path / name}{'/' if name.endswith('/') else ''}", per_class=3, classes=[3, 0]
        )
    images = arrays(tmp_path / "a.npz")["images"]
    folder = ImageFolder(str(tmp_path / "a"))
    assert folder.classes == ["0", "3"] and len(folder) == 6
    for number in range(3):
        with Image.open(tmp_path / "a" / "3" / f"{number:05d}.png") as file:
            assert file.mode == "L" and np.array_equal(np.asarray(file), images[number, 0])
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    top, left = tiny.frame(picture)
    enlarged = images[0, 0].repeat(4, axis=0).repeat(4, axis=1)
    assert np.array_equal(picture[top + 2 : top + 66, left + 2 : left + 66, 0], enlarged)


def test_pictures_show_any_name(tmp_path: Path) -> None:
    for name in ("a.png", "a.webp", "a.gif"):
        FORMATS[Path(name).suffix].write([some(HOSTILE)], tmp_path / name, False)
        with Image.open(tmp_path / name) as picture:
            assert picture.height > len(HOSTILE) * 68


def test_a_picture_has_ten_images_of_a_class_unless_told(run_folder: Path, tmp_path: Path) -> None:
    write(run_folder, tmp_path / "a.png")
    write(run_folder, tmp_path / "b.png", per_class=10)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_film_shows_a_class_from_its_task_on(run_folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"film{suffix}"
    write(run_folder, out, per_class=2)
    frames = []
    with Image.open(out) as film:
        assert film.n_frames == 2 and film.info["loop"] == 0  # type: ignore[attr-defined]
        for number in range(2):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")))
    first, last = frames
    assert first.shape == last.shape
    half = 8 + 15 + 8 + 2 * (68 + 8)  # below the rows of the first two classes
    assert (first[half:] == 255).all() and not (last[half:] == 255).all()
    # a row is that of the picture of the same checkpoint
    if suffix == ".webp":
        checkpoint = run_folder / "checkpoints" / "task_00.ckpt"
        write(checkpoint, tmp_path / "first.png", per_class=2, classes=[0])
        top, left = tiny.frame(first)
        picture = np.asarray(Image.open(tmp_path / "first.png"))
        assert np.array_equal(first[top : top + 68, left:], picture[top : top + 68, left : first.shape[1]])


def test_a_film_needs_a_run(run_folder: Path, tmp_path: Path) -> None:
    last = run_folder / "checkpoints" / "last.ckpt"
    with pytest.raises(ConfigError, match="name a run folder, or add interpolate=8"):
        write(last, tmp_path / "film.webp")
    (tmp_path / "other" / "checkpoints").mkdir(parents=True)
    (tmp_path / "other" / "checkpoints" / "last.ckpt").symlink_to(last)
    with pytest.raises(CheckpointError, match="nothing to film"):
        write(tmp_path / "other", tmp_path / "film.webp")
    write(last, tmp_path / "film.webp", interpolate=4, per_class=1)
    with Image.open(tmp_path / "film.webp") as film:
        assert film.n_frames == 6  # type: ignore[attr-defined]  # forth, and back without the ends


# ---------------------------------------------------------------- interpolation


def same(z: Tensor, labels: Tensor) -> Tensor:
    """A generator that shows z as a picture."""
    return z.tanh()[:, None, None, :].expand(-1, 1, z.shape[1], -1)


def test_a_path_lies_on_the_sphere_between_its_ends() -> None:
    start, end = torch.randn(5, 32), torch.randn(5, 32)
    start, end = (3 * z / z.norm(dim=1, keepdim=True) for z in (start, end))
    path = slerp(start, end, 7)
    assert path.shape == (5, 7, 32)
    assert torch.allclose(path[:, 0], start, atol=1e-5) and torch.allclose(path[:, -1], end, atol=1e-5)
    assert torch.allclose(path.norm(dim=2), torch.full((5, 7), 3.0), atol=1e-4)
    angles = torch.nn.functional.cosine_similarity(path[:, 1:], path[:, :-1], dim=2)
    assert torch.allclose(angles, angles[:, :1].expand_as(angles), atol=1e-4)  # equal steps
    straight = slerp(start, 2 * start, 3)
    assert torch.allclose(straight[:, 1], 1.5 * start, atol=1e-5)


def test_paths_lead_from_each_image_to_the_next() -> None:
    images = sample_class(same, 3, 4, 16, seed=1)
    paths = sample_paths(same, 3, 3, 5, 16, seed=1)
    assert paths.shape == (3, 5, 1, 16, 16) and paths.dtype == torch.uint8
    ends = paths[:, 0].int(), paths[:, -1].int()
    assert (ends[0] - images[:-1].int()).abs().max() <= 1 and (ends[1] - images[1:].int()).abs().max() <= 1


def test_interpolations_in_arrays_and_pictures(run_folder: Path, tmp_path: Path) -> None:
    write(run_folder, tmp_path / "a.npz", interpolate=4, per_class=2)
    assert arrays(tmp_path / "a.npz")["labels"].tolist() == [label for label in range(4) for _ in range(8)]
    write(run_folder, tmp_path / "a.png", interpolate=4)
    write(run_folder, tmp_path / "b.png", interpolate=4, per_class=2)
    one, two = (Image.open(tmp_path / name).size for name in ("a.png", "b.png"))
    assert two[1] - one[1] == 4 * (68 + 8)
    for wrong, key in (
        ({"interpolate": 1}, "interpolate=1"),
        ({"interpolate": 101}, "interpolate=101"),
        ({"per_class": 101}, "per_class=101"),
        ({"per_class": 0}, "per_class=0"),
        ({"per_class": 30, "interpolate": 2}, "per_class=30"),
    ):
        with pytest.raises(ConfigError, match=key):
            write(run_folder, tmp_path / "c.png", **wrong)
    assert not (tmp_path / "c.png").exists()


# ---------------------------------------------------------------- folders by class


def test_folders_have_safe_names_and_say_which_class_they_hold(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    (line,) = FORMATS[""].write([some(HOSTILE)], out, False)
    assert f"{2 * len(HOSTILE)} images" in line and "see samples.csv" in line
    with (out / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [str(number) for number in range(len(HOSTILE))]
    assert {row["folder"] for row in rows} | {"samples.csv"} == set(os.listdir(out))
    kept = {row["class"]: row["folder"] for row in rows if row["folder"] == row["class"]}
    assert {"A", "$x$", "日本"} <= set(kept) and "a" not in kept
    assert all((out / row["folder"] / "00001.png").is_file() for row in rows)
    assert os.listdir(tmp_path) == ["deep"] and os.listdir(tmp_path / "deep") == ["out"]
    assert class_folders.foreign(out) is None


@settings(max_examples=40)
@given(strategies.lists(strategies.text(max_size=12), unique=True, min_size=1, max_size=8))
def test_any_names_give_different_folders_in_one_place(names: list[str]) -> None:
    found = class_folders.folder_names(names, range(len(names)))
    assert list(found) == list(range(len(names)))
    assert len({name.casefold() for name in found.values()}) == len(names)
    for name in found.values():
        assert Path(name).name == name and not name.startswith(".") and name.isprintable()
        assert len(name.encode()) < 256


def test_folders_that_others_filled_are_left_alone(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(run_folder, out, per_class=3)
    with pytest.raises(ConfigError, match="is not empty"):
        write(run_folder, out, per_class=1)
    write(run_folder, out, per_class=1, classes=[2], overwrite=True)
    assert sorted(path.name for path in out.rglob("*.png")) == ["00000.png"]
    for foreign in ("mine.txt", "2/mine.png", "2/00001.png", "3/00000.png"):
        (out / foreign).parent.mkdir(exist_ok=True)
        (out / foreign).write_text("mine")
        with pytest.raises(ConfigError, match="which this command did not write"):
            write(run_folder, out, per_class=2, overwrite=True)
        (out / foreign).unlink()
    (out / "3").rmdir()
    (out / "samples.csv").write_text("label,class\n")
    with pytest.raises(ConfigError, match="did not write"):
        write(run_folder, out, overwrite=True)
    for place, part in (
        (run_folder, "belongs to the run"),
        (Path("/dev/null"), "out="),
        (Path("."), "working"),
    ):
        with pytest.raises(ConfigError, match=part):
            write(run_folder, f"{place}/", overwrite=True)
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(ConfigError, match="is a link"):
        write(run_folder, tmp_path / "link", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["link", "out"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    own: Callable[[Path], Path | None] = lambda folder: None  # noqa: E731

    def stopped() -> None:
        with replacing_folder(out, own) as made:
            (made / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert os.listdir(tmp_path) == ["out"] and os.listdir(out) == ["old"]
    with (
        pytest.raises(StorageError, match="old there in the meantime"),
        replacing_folder(out, lambda folder: folder / "old"),
    ):
        pass
    assert os.listdir(tmp_path) == ["out"] and os.listdir(out) == ["old"]
    with replacing_folder(out, own) as made:
        (made / "new").write_text("new")
    assert os.listdir(tmp_path) == ["out"] and os.listdir(out) == ["new"]


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize("out", ["a.jpg", "a.tar.gz", "a.ckpt", ""])
def test_an_unknown_format_is_refused_with_those_that_there_are(out: str) -> None:
    with pytest.raises(ConfigError, match=r"^out.*\.npz"):
        formats.of(out)


def test_it_is_refused_before_torch_is_imported(run_folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from mergan import sample\n"
        f"status = sample.main([{str(run_folder)!r}, 'out=a.jpg'])\n"
        "print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tiny.ROOT)},
    )  # fmt: skip
    assert done.stdout == "2 False\n" and done.stderr.count("\n") == 1 and ".webp" in done.stderr


def test_a_word_without_a_key_names_the_run(run_folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "lr=0.1, 'a'"
    place.symlink_to(run_folder)
    done = warm.run(["-m", "mergan", "sample", place.name, "out=grid.png", "per_class=1"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 images of 4 classes" in done.stdout and (tmp_path / "grid.png").is_file()


def test_words_without_a_key() -> None:
    typed = ["seed=1", "runs/a b", "~trust", "--cfg", "job"]
    ready = ["seed=1", "checkpoint='runs/a b'", "~trust", "--cfg", "job"]
    assert first_word.as_setting(typed, "checkpoint") == ready
    assert first_word.as_setting(typed, "") == typed
    assert first_word.as_setting(["~/runs/a"], "checkpoint") == ["checkpoint='~/runs/a'"]
    for wrong in (["a", "b"], ["a", "checkpoint=b"]):
        with pytest.raises(ConfigError, match="give one checkpoint"):
            first_word.as_setting(wrong, "checkpoint")


def test_places_without_images_stay_white() -> None:
    from mergan.output import plots

    images = np.zeros((2, 1, 16, 16), dtype=np.uint8)
    picture = plots.grid([plots.Row("a", images), plots.Row("b", images[:0])])
    full = plots.grid([plots.Row("a", images), plots.Row("b", images)])
    assert picture.shape == full.shape
    assert (picture[8 + 68 + 8 :] == style.PAPER).all() and not (full[8 + 68 + 8 :] == style.PAPER).all()
