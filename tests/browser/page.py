"""A page in Chromium: what it shows, what it complains about, what it asks for."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service

PATIENCE = 30.0  # seconds for a page to show what is expected

# one screen of whole pixels, and a browser that talks to this machine alone
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
    "--force-device-scale-factor=1", "--no-first-run", "--no-default-browser-check", "--disable-sync",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)  # fmt: skip

Found = TypeVar("Found")


class Page:
    """A window of Chromium.

    Args:
        profile: an empty folder for Chromium's own files.
        shots: the folder of screenshots.

    Attributes:
        driver: Selenium's driver.
    """

    def __init__(self, profile: Path, shots: Path) -> None:
        options = webdriver.ChromeOptions()
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.binary_location = _found("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, Service(_found("chromedriver")))
        self.shots = shots
        self._console: list[tuple[str, str]] = []
        self._requests: list[str] = []

    def open(self, address: str, width: int = 1400, height: int = 900) -> None:
        """Open an address in a window of a size; errors and requests of earlier pages are forgotten.

        The size is that of the page, also below the 500 pixels of Chromium's smallest window.
        """
        self.driver.get("about:blank")  # another fragment alone would not load the page again
        self._read_logs()
        self._console, self._requests = [], []
        self.resize(width, height)
        self.driver.get(address)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the page."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def wait(self, look: Callable[[], Found], what: str = "") -> Found:
        """Look again until there is something; an element that has just gone is nothing.

        Raises:
            AssertionError: nothing came within 30 s.
        """
        until = time.monotonic() + PATIENCE
        while True:
            try:
                if found := look():
                    return found
            except WebDriverException:
                pass
            assert time.monotonic() < until, f"{what or look}: did not come; {self.errors()}"
            time.sleep(0.1)

    def script(self, code: str, *arguments: Any) -> Any:
        """Run JavaScript in the page. It has `all(selector)`, which looks into shadow roots as well."""
        return self.driver.execute_script(ALL + code, *arguments)

    def text(self) -> str:
        """What the page shows as text, shadow roots included."""
        return self.script("return all('*', document.body).map(shallow).filter(t => t).join('\\n')")

    def shot(self, name: str, whole: bool = False) -> Path:
        """Save what the window shows, or the whole page, as a PNG."""
        path = self.shots / f"{name}.png"
        if whole:
            height = self.driver.execute_script("return document.documentElement.scrollHeight")
            width = self.driver.execute_script("return window.innerWidth")
            self.resize(width, height)
        self.driver.save_screenshot(str(path))
        return path

    def errors(self, levels: Sequence[str] = ("SEVERE", "WARNING")) -> list[str]:
        """What the console complains about since the page was opened."""
        self._read_logs()
        return [message for level, message in self._console if level in levels]

    def requests(self) -> list[str]:
        """The addresses that the page has asked for since it was opened; data within the page is none."""
        self._read_logs()
        return self._requests

    def _read_logs(self) -> None:
        console: Any = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        self._console += [(entry["level"], entry["message"]) for entry in console]
        traffic: Any = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        for entry in traffic:
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                address = message["params"]["request"]["url"]
                if not address.startswith(("data:", "blob:", "about:", "chrome:")):
                    self._requests.append(address)

    def close(self) -> None:
        """End Chromium."""
        self.driver.quit()


ALL = """
function all(selector, root = document) {
    const found = [...root.querySelectorAll(selector)];
    for (const element of root.querySelectorAll('*'))
        if (element.shadowRoot) found.push(...all(selector, element.shadowRoot));
    return found;
}
function shallow(element) {
    if (['SCRIPT', 'STYLE', 'TEMPLATE'].includes(element.tagName)) return '';
    const texts = [...element.childNodes].filter(node => node.nodeType == 3);
    return texts.map(node => node.textContent.trim()).join(' ').trim();
}
"""


def _found(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"{name} is missing; make test-browser installs it"
    return path
