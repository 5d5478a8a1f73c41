"""Run the benchmarks: python -m benchmarks [out=benchmarks/results] [only=reference,growth] [threads=2]

data.root=FOLDER says where the files of MNIST are, for `quality`, which downloads them otherwise.
python -m benchmarks gpu measures a GPU instead, see benchmarks/gpu.py.
"""

from __future__ import annotations

import json
import logging
import platform
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch

from benchmarks import (
    framework,
    gpu,
    growth,
    loading,
    plain_steps,
    quality,
    reference,
    roofline,
    startup,
    streaming,
    sweeps,
)
from benchmarks.measure import Figure
from mergan.output import tables
from mergan.system.files import write_text

Benchmark = Callable[[Path, Path, list[str]], list[Figure]]
BENCHMARKS: dict[str, Benchmark] = {
    "reference": lambda cache, *_: reference.run(cache),
    "plain_steps": lambda cache, *_: plain_steps.run(cache),
    "framework": lambda cache, *_: framework.run(cache),
    "growth": lambda cache, *_: growth.run(cache),
    "loading": lambda cache, *_: loading.run(cache),
    "streaming": lambda cache, *_: streaming.run(cache),
    "startup": lambda cache, folder, _: startup.run(cache, folder),
    "roofline": lambda cache, *_: roofline.run(cache),
    "sweeps": lambda cache, folder, _: sweeps.run(cache, folder),
    "quality": lambda cache, _, overrides: quality.run(cache, overrides),
}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
    }


def table(figures: list[Figure]) -> str:
    """Markdown: target and reached side by side."""
    words = {True: "yes", False: "no", None: "-"}
    rows = [
        [
            figure.name,
            f"{figure.target} {figure.unit}" if figure.target else "-",
            f"{figure.reached:.2f} {figure.unit}",
            f"{figure.low:.2f} to {figure.high:.2f}",
            words[figure.met],
        ]
        for figure in figures
    ]
    return tables.markdown(["figure", "target", "reached", "spread", "met"], rows)


def options_of(arguments: list[str]) -> dict[str, str]:
    """The options, with those that were given; ends the process in one line if they are wrong."""
    options = {
        "out": "benchmarks/results",
        "only": ",".join(BENCHMARKS),
        "threads": str(torch.get_num_threads()),
        "data.root": "",
    }
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in options:
            sys.exit(f"error: {argument}: use {', '.join(f'{name}=' for name in options)}")
        options[key] = value
    for name in options["only"].split(","):
        if name not in BENCHMARKS:
            sys.exit(f"error: only={name}: use some of {','.join(BENCHMARKS)}")
    return options


def main(arguments: list[str]) -> None:
    """Run what is asked for, print the table, write it as Markdown and JSON."""
    options = options_of(arguments)
    torch.set_num_threads(int(options["threads"]))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    figures: list[Figure] = []
    failed: list[str] = []
    root = options["data.root"]
    overrides = [f"data.root={Path(root).absolute()}"] if root else []
    with tempfile.TemporaryDirectory() as folder:
        for name in options["only"].split(","):
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                figures += BENCHMARKS[name](Path(folder) / "cache", Path(folder), overrides)
            except subprocess.CalledProcessError as error:  # it has said why
                failed.append(f"{name}: {shlex.join(error.cmd)} ended with status {error.returncode}")
    facts = machine()
    text = f"{table(figures)}\n\n{', '.join(f'{key} {value}' for key, value in facts.items())}\n"
    out = Path(options["out"])
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "benchmarks.md", text)
    content = {"machine": facts, "figures": [figure.as_dict() for figure in figures]}
    write_text(out / "benchmarks.json", json.dumps(content, indent=2) + "\n")
    print(text)
    if failed:
        sys.exit("error: " + "; ".join(failed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["gpu"]:
        gpu.main(sys.argv[2:])
    else:
        main(sys.argv[1:])
