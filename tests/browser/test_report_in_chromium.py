"""The page of the report in Chromium, from disk: wide and narrow, light and dark.

`make test-browser` sets Chromium up. The output names the screenshots.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny
from page import Page
from selenium.webdriver.common.keys import Keys

OVERLAPS = """
const boxes = all('figure, table, h2, p, summary').filter(e => e.checkVisibility());
const hit = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
                   && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
const found = [];
for (const [i, a] of boxes.entries())
    for (const b of boxes.slice(i + 1))
        if (!a.contains(b) && !b.contains(a) && hit(a.getBoundingClientRect(), b.getBoundingClientRect()))
            found.push(a.textContent.trim().slice(0, 40) + ' / ' + b.textContent.trim().slice(0, 40));
return found;
"""
EMPTY = """
return all('img:not([hidden])').filter(image => {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 64;
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0, 64, 64);
    return new Set(context.getImageData(0, 0, 64, 64).data).size < 4;
}).map(image => image.alt);
"""


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a sweep over two strategies and two seeds, one of them failed."""
    place = tmp_path_factory.mktemp("report")
    words = ["-m", "strategy=finetune,retrain_and_align", "seed=0,1", *tiny.SETTINGS, "epochs=4",
             "learner.log_every_n_steps=1", "hydra.sweep.dir=sweep"]  # fmt: skip
    subprocess.run([sys.executable, tiny.ROOT / "train.py", *words], cwd=place, check=True)
    (place / "sweep" / "0_finetune" / "metrics.json").unlink()
    report = [sys.executable, "-m", "mergan.report", "sweep", "out=report"]
    subprocess.run(report, cwd=place, check=True)
    return (place / "report" / "index.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_overlaps_is_empty_or_is_fetched(page: Page, address: str, width: int, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.open(address, width)
    assert page.script("return document.documentElement.scrollWidth") <= width
    assert page.script(OVERLAPS) == []
    assert page.script(EMPTY) == []
    assert page.script("return all('img').filter(i => !i.complete || !i.naturalWidth || !i.alt).length") == 0
    paper = page.script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    print(page.shot(f"report_{width}_{scheme}", whole=True))
    assert page.requests() == [address] and page.errors() == []


def test_the_slider_follows_the_keyboard(page: Page, address: str) -> None:
    page.open(address)
    slider = page.driver.find_element("id", "task")

    def shown() -> list[int]:
        films = "return all('.frames').map(f => [...f.children].findIndex(i => !i.hidden) + 1)"
        return list(page.script(films))

    assert shown() == [2, 2, 2]
    slider.send_keys(Keys.ARROW_LEFT)
    assert shown() == [1, 1, 1]
    assert page.driver.find_element("css selector", ".at").text == "after task 1 of 2"
    page.driver.find_element("id", "play").click()
    page.wait(lambda: shown() == [2, 2, 2], "the next frame")
    assert page.errors() == []


def test_a_printed_page_holds_what_is_folded(page: Page, address: str) -> None:
    page.open(address)
    assert page.script("return all('details[open]').length") == 0
    page.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert page.script("return all('details:not([open])').length") == 0
