"""Pictures of the report that need a generator, on a tiny run with real checkpoints."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from omegaconf import DictConfig
from PIL import Image
from test_report_contents import Page

from mergan import config
from mergan.checkpoints.trust import of_command
from mergan.config.composition import node_of
from mergan.output import plots
from mergan.report import main
from mergan.reporting import films, generated, groups, neighbours, runs, walk
from mergan.reporting.generated import Source
from mergan.run import experiment


@pytest.fixture(scope="module")
def run_folder(compose: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of the classes 0 and 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    experiment.run(compose(*tiny.PAINTER), folder)
    return folder


def test_the_page_shows_latents_features_and_neighbours(
    run_folder: Path, cache_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_folder, tmp_path / "no_checkpoints", ignore=shutil.ignore_patterns("*.ckpt"))
    out = tmp_path / "report"
    words = [str(run_folder), str(tmp_path / "no_checkpoints"), f"out={out}", f"cache_dir={cache_dir}"]
    assert main([*words, "trust=[tiny]"]) == 0
    page = Page(out / "index.html")
    frames = [
        own for own in page.all("img") if "after task" in str(own["alt"]) and "rows are" in str(own["alt"])
    ]
    assert [("hidden" in own) for own in frames] == [True, False]
    (slider,) = (own for own in page.all("input") if own["type"] == "range")
    assert (slider["min"], slider["max"]) == ("1", "2")
    with Image.open(out / "films" / "film_01.webp") as film:
        assert film.n_frames == 2  # type: ignore[attr-defined]
    assert "features of the judge" in page.text and "between real images" in page.text
    assert (out / "figures" / "features_01.png").is_file() and (
        out / "figures" / "neighbours_01.png"
    ).is_file()
    assert page.text.count("do not count: 1") == 1  # the copy is the same run


def test_a_frame_shows_what_has_been_learned_from_the_same_latents(run_folder: Path) -> None:
    paths = [run_folder / "checkpoints" / f"task_0{task}.ckpt" for task in (0, 1)]
    walked = walk.walk(paths, of_command({}, [config.CONF], ["tiny"]))
    shown, content = films.film("run", walked, "films/film.webp")
    assert list(shown.rows) == walked.class_names and shown.shape == (160, 64)
    first, second = (
        np.asarray(Image.open(io.BytesIO(frame)).convert("RGB"))[:, :, 0] for frame in shown.frames
    )
    rows = plots.samples(walked.last, [0, 1, 2, 3], walk.LATENTS, walked.last.latent_dim, walk.SEED)
    shades = rows[:, 0, 0, 8, 8].astype(int)
    assert np.abs(second[8::16, 8].astype(int) - shades).max() <= 3
    assert np.abs(first[8::16, 8].astype(int) - [shades[0], shades[1], films.UNSEEN, films.UNSEEN]).max() <= 3
    assert Image.open(io.BytesIO(content)).format == "WEBP"


def test_what_stands_in_the_way_is_said_in_a_line(run_folder: Path, cache_dir: Path, tmp_path: Path) -> None:
    for name in ("none", "broken", "no data"):
        shutil.copytree(run_folder, tmp_path / name)
    shutil.rmtree(tmp_path / "none" / "checkpoints")
    (tmp_path / "broken" / "checkpoints" / "task_01.ckpt").write_bytes(b"PK nothing")
    for path in (tmp_path / "no data" / "checkpoints").glob("task_*.ckpt"):
        content = torch.load(path, weights_only=True)
        gone = {"root": str(tmp_path / "gone"), "channels": 1}
        content["mergan"]["config"]["data"]["source"] = {
            **node_of("data.source", "data=image_folder"),
            **gone,
        }
        torch.save(content, path)
    found = {run.folder.name: run for run in runs.collect([tmp_path]).finished}
    (setting,) = groups.grouped(list(found.values()))

    def remarks(name: str, *trust: str) -> list[list[str]]:
        made = generated.pictures([(setting, found[name])], Source(trust, str(cache_dir)), "films")
        return [section.remarks for section in made.sections]

    expected = {"none": "no checkpoint", "broken": "task_01.ckpt"}
    for name, words in expected.items():
        for lines in remarks(name, "tiny"):
            assert len(lines) == 1 and words in lines[0] and lines[0].startswith("Absent for ")
    for (line,) in remarks("no data"):
        assert "trust=[tiny]" in line
    latents, features, neighbours = remarks("no data", "tiny")  # the films need no data
    assert latents == [] and features == neighbours and str(tmp_path / "gone") in features[0]


def test_a_copied_image_is_found_at_distance_0() -> None:
    real = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    distances, places, usual = neighbours._nearest(real[[7, 3]], real)
    assert distances == pytest.approx([0, 0], abs=1e-3) and places.tolist() == [7, 3]
    assert 0.2 < usual < 0.5


def test_trust_names_modules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    assert main([str(tmp_path / "run"), "trust=[a-b]"]) == 2
    assert capsys.readouterr().err.startswith("error: trust=a-b: ")
