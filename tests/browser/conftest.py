"""Chromium for the tests of pages; `make test-browser` installs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from page import Page


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of screenshots; pytest keeps those of the last three runs."""
    return tmp_path_factory.mktemp("shots")


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory, shots: Path) -> Iterator[Page]:
    """A window of Chromium, one for all tests."""
    opened = Page(tmp_path_factory.mktemp("chromium"), shots)
    yield opened
    opened.close()
