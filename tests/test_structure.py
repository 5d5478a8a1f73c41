"""The layout that docs/ARCHITECTURE.md promises: who imports whom, and what stays free of torch."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
import tiny

PACKAGE = tiny.ROOT / "mergan"
ALONE = {  # modules and what of this project they may import
    "scenario.py": {"mergan.errors"},
    "errors.py": set(),
    "losses.py": set(),
    "arguments.py": {"mergan.errors"},
    "objectives.py": {"mergan.arguments", "mergan.errors", "mergan.losses"},
    "schedules.py": {"mergan.errors"},
    "plots.py": {"mergan", "mergan.lettering", "mergan.storage"},
    "text.py": set(),
    "lettering.py": {"mergan.text"},
    "networks/layers.py": {"mergan.errors"},
    "networks/thin.py": set(),
    "networks/pair_products.py": set(),
    "networks/upsample_conv.py": {"mergan.networks.pair_products"},
    "networks/dcgan.py": {"mergan.networks.layers", "mergan.networks.thin"},
    "networks/upsample.py": {
        "mergan.errors",
        "mergan.networks.layers",
        "mergan.networks.thin",
        "mergan.networks.upsample_conv",
    },
}


def own_imports(file: str) -> set[str]:
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in names if name.startswith("mergan")}


@pytest.mark.parametrize("file", ALONE)
def test_core_modules_know_nothing_of_the_rest(file: str) -> None:
    assert own_imports(file) <= ALONE[file]


def test_the_module_knows_no_data_no_files_and_no_plots() -> None:
    forbidden = ("mergan.data", "mergan.plots", "mergan.storage", "mergan.callbacks", "mergan.experiment")
    assert not [name for name in own_imports("acgan.py") if name.startswith(forbidden)]


def test_checking_a_configuration_imports_no_torch() -> None:
    code = "import sys, mergan.cli, mergan.config, mergan.scenario; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, check=False).returncode == 0
