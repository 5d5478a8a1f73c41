"""The layout that docs/ARCHITECTURE.md promises: rooms with one way down, and what stays free of torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tiny

PACKAGE = tiny.ROOT / "mergan"
# the rooms from the ground up; none imports from one above it
ROOMS = [
    "system",  # files, signals, the processor
    "scenarios",
    "config",
    "checkpoints",
    "networks",
    "data",
    "strategies",
    "learners",
    "evaluation",
    "output",
    "callbacks",
    "run",
    "sharing",
    "cli",
    "tuning",
    "reporting",
    "reproducing",
]
DOORS = {"__init__", "__main__", "evaluate", "export", "report", "reproduce", "sample", "search", "train"}
ALONE = {  # modules of the core and what of this project they may import
    "scenarios/base.py": {"mergan.scenarios.classes", "mergan.system.errors", "mergan.system.text"},
    "scenarios/classes.py": {"mergan.system.errors", "mergan.system.text"},
    "system/errors.py": set(),
    "learners/losses.py": {"mergan.system.whole_batch"},
    "learners/objectives.py": {"mergan.config.ranges", "mergan.learners.losses", "mergan.system.whole_batch"},
    "learners/schedules.py": set(),
    "networks/layers.py": {"mergan.system.whole_batch"},
    "networks/fast/thin.py": set(),
    "networks/fast/pair_products.py": set(),
    "networks/fast/pooled_conv.py": set(),
    "networks/fast/upsample_conv.py": {"mergan.networks.fast.pair_products"},
}


def module_name(file: Path) -> str:
    name = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imported(file: Path) -> set[str]:
    """The modules of this project that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "mergan"}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_upward(module: str) -> None:
    if room(module) not in ROOMS:
        return  # a door may use every room
    allowed = ROOMS[: ROOMS.index(room(module)) + 1]
    above = [name for name in imported(MODULES[module]) if name != "mergan" and room(name) not in allowed]
    assert not above, f"{module} imports {above}"


def test_there_is_no_circle() -> None:
    """Modules can be put in an order in which each imports only earlier ones."""
    waiting = {name: {other for other in imported(file) if other != name} for name, file in MODULES.items()}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert not waiting


def test_the_root_holds_only_doors() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == DOORS
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("file", ALONE)
def test_core_modules_know_nothing_of_the_rest(file: str) -> None:
    assert imported(PACKAGE / file) <= ALONE[file]


def test_every_package_is_installed() -> None:
    settings = tomllib.loads((tiny.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {module_name(path) for path in PACKAGE.rglob("__init__.py")}
    assert packages <= set(settings["tool"]["setuptools"]["packages"])


def test_checking_a_configuration_imports_no_torch() -> None:
    code = (
        "import sys, mergan.cli.guard, mergan.config, mergan.scenarios.base; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, check=False).returncode == 0


def test_the_configuration_does_not_travel_into_the_depth() -> None:
    """Parts get values; what Hydra composes stays with the rooms that build them."""
    composing = {"config", "checkpoints", "run", "cli", "tuning", "reproducing"}
    deep = [name for name in ROOMS if name not in composing]
    for module, file in MODULES.items():
        if room(module) in deep:
            assert "omegaconf" not in file.read_text(encoding="utf-8"), module


def test_the_files_that_the_documentation_names_exist() -> None:
    for page in [*(tiny.ROOT / "docs").glob("*.md"), tiny.ROOT / "README.md"]:
        for path in re.findall(
            r"`((?:mergan|conf|examples|tests)/[\w./]*)`", page.read_text(encoding="utf-8")
        ):
            assert (tiny.ROOT / path).exists(), f"{page.name}: {path}"
