"""Fixtures: one cache of images and judges for the whole session, and the tiny configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import settings
from omegaconf import DictConfig
from tensorboard.summary.writer import event_file_writer

# They take longest, one test after another. First in line, none of them is left over at the end for a
# single worker.
LONGEST = (
    "test_readme",
    "test_benchmarks",
    "test_wheel",
    "test_bad_inputs",
    "test_torture",
    "test_checkpoint",
)

collect_ignore = ["browser", "cluster"]  # see `make test-browser` and `make test-cluster`

settings.register_profile("same every time", derandomize=True, database=None, deadline=None)
settings.load_profile("same every time")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the files that take longest to the front."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # the networks are too small to gain from more, and results to the bit need a fixed number
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _event_files_in_order() -> None:
    # TensorBoard reads event files by name: second, process, number of the file in the process. A tiny run
    # is resumed several times within a second, and there a file 10 would be read before a file 9
    event_file_writer._global_uid = event_file_writer.AtomicCounter(1_000_000)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated images and judges, made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def compose(cache_dir: Path) -> Callable[..., DictConfig]:
    """compose("strategy=finetune", "epochs=3"): the tiny configuration with overrides."""

    def with_overrides(*overrides: str) -> DictConfig:
        return tiny.compose(cache_dir, *overrides)

    return with_overrides


@pytest.fixture
def build(compose: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., tiny.Run]:
    """build("strategy=finetune"): the parts of a tiny run in a folder of its own, not yet fitted."""

    def from_overrides(*overrides: str) -> tiny.Run:
        return tiny.build(compose(*overrides), tmp_path / "run")

    return from_overrides
