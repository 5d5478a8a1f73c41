"""The pages of TensorBoard, as its own server shows the runs of a small sweep in Chromium.

`make test-browser` sets Chromium up. The output names the screenshots.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from page import Page
from PIL import Image

from mergan.output.event_tags import CHARTS

NAMES = ["<b>bold", "$x^2$", "größe", "[a](http:b)"]
TITLES = [title for category in CHARTS.values() for title in category]
JOBS = ["0_finetune", "1_finetune", "2_retrain_and_align", "3_retrain_and_align"]


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep over two strategies and two seeds, on pictures of classes with odd names."""
    place = tmp_path_factory.mktemp("place")
    draw = np.random.default_rng(0)
    for name in NAMES:
        (place / "pictures" / name).mkdir(parents=True)
        for number in range(24):
            pixels = draw.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "pictures" / name / f"{number}.png")
    own = [setting for setting in tiny.SETTINGS if not setting.startswith(("data", "callbacks.heat_maps"))]
    words = [
        "-m", "strategy=finetune,retrain_and_align", "seed=0,1", *own, "data=image_folder",
        "data.root=pictures", "data.image_size=16", "hydra.sweep.dir=sweep",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(tiny.ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, tiny.ROOT / "train.py", *words],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "sweep"


@pytest.fixture(scope="session")
def address(sweep: Path) -> Iterator[str]:
    """The address of a TensorBoard that shows the sweep, started as `make tensorboard` starts it."""
    (command,) = re.findall(r"\$\(BIN\)/tensorboard (.*)", (tiny.ROOT / "Makefile").read_text())
    words = command.replace("--logdir runs", f"--logdir {sweep}").split()
    program = [sys.executable, "-m", "tensorboard.main", *words, "--port", "0"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        yield next(match[0] for line in server.stderr if (match := re.search(r"http://\S+/", line)))
        server.terminate()


@pytest.fixture
def shown(page: Page, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page that the test's name ends with, photographed at the end of the test."""
    tab = request.node.name.removeprefix("test_")
    page.open(f"{address}#{tab}", height=1000)
    yield page
    print(page.shot(f"tensorboard_{tab}"))
    assert page.errors(["SEVERE"]) == []
    assert [request for request in page.requests() if not request.startswith(address)] == []


def on_page(page: Page, *texts: str) -> str:
    """The text of the page, once it holds all these."""
    return page.wait(
        lambda: found if all(text in (found := page.text()) for text in texts) else "", f"{texts}"
    )


def test_timeseries(shown: Page) -> None:
    text = on_page(shown, "after_task", "/accuracy", *(f"{job}/tensorboard" for job in JOBS))
    groups = ("after_task", "after_task_accuracy", "d", "g", "lr", "speed", "summary")
    places = [text.index(f"\n{group}\n") for group in groups]
    assert places == sorted(places)
    assert not any(name in text for name in NAMES)  # no scalars of single classes


def test_custom_scalars(shown: Page) -> None:
    on_page(shown, "What is remembered", "Losses", "Speed")
    cards = shown.wait(lambda: charts(shown), "charts")
    assert list(cards) == TITLES
    assert [title for title, curves in cards.items() if not curves] == ["FID"]  # too few images
    assert cards["strategy"] == 2  # two of the four runs have such a term


def charts(page: Page) -> dict[str, int] | None:
    """The number of curves of every chart, once all are drawn."""
    cards = "all('tf-custom-scalar-multi-line-chart-card')"
    texts = page.script(f"return {cards}.map(c => all('*', c.shadowRoot).map(shallow).filter(t => t))")
    lines = page.script(f"return {cards}.map(c => all('.plot path', c.shadowRoot).length)")
    titles = [next(text for text in card if text in TITLES) for card in texts]
    curves = [int(re.findall(r"Matches \((\d+)\)", "\n".join(card))[0]) for card in texts]
    whole = titles and all(line or not curve for line, curve in zip(lines, curves, strict=True))
    return dict(zip(titles, curves, strict=True)) if whole else None


def test_images(shown: Page) -> None:
    on_page(shown, "samples after each task", "values after each task")
    first = shown.wait(lambda: pictures(shown, task=2), "pictures of the last task")
    assert len(first) == 2 * len(JOBS)
    # the slider counts the tasks
    assert inside(shown, "paper-slider", "[x.min, x.max, x.value].map(Number)") == [[[0, 1, 1]]] * len(first)
    inside(shown, "paper-slider", "x.value = 0")
    shown.wait(lambda: pictures(shown, task=1), "pictures of the first task")


def pictures(page: Page, task: int) -> Any:
    """The widths of the pictures, once all are there and those of a task."""
    steps = [" ".join(texts) for texts in inside(page, "*", "shallow(x)")]
    widths = [width for (width,) in inside(page, "img", "x.complete ? x.naturalWidth : 0")]
    return widths if all(widths) and all(re.search(rf"step +{task}\b", text) for text in steps) else None


def inside(page: Page, selector: str, look: str) -> Any:
    """What there is to see of every x that a selector finds, for each place of a picture."""
    return page.script(
        f"return all('tf-image-loader').map(l => all('{selector}', l.shadowRoot).map(x => {look}))"
    )


def test_text(shown: Page, sweep: Path) -> None:
    text = on_page(shown, "closing table", "configuration", "judge on real", "# mergan", "Tasks:")
    for name in NAMES:
        assert name in text  # as text, not as markup
    assert shown.script("return all('tf-text-loader script, tf-text-loader a[href]').length") == 0
    assert f"{figures(sweep, JOBS[0])['accuracy']:.3f}" in text


def test_hparams(shown: Page, sweep: Path) -> None:
    text = on_page(shown, "Trial ID", *(f"{job} in {sweep}" for job in JOBS), "retrain_and_align", "coverage")
    names = ("seed", "strategy", "batch_size", "embedding_dim", "epochs", "lr")  # what varies, then the rest
    places = [text.index(f"\n{name}\n") for name in names]
    assert places == sorted(places)
    cells = [float(number) for number in re.findall(r"^-?\d+\.\d+$", text, re.MULTILINE)]
    for job in JOBS:
        coverage = figures(sweep, job)["coverage"]
        assert any(cell == pytest.approx(coverage, rel=1e-4) for cell in cells)


def figures(sweep: Path, job: str) -> dict[str, float]:
    found: dict[str, float] = json.loads((sweep / job / "metrics.json").read_text())
    return found
