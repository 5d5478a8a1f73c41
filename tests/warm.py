"""Commands of the project, in processes that need not import torch and Lightning first.

Each command still has a process of its own, forked from one that has done the imports and nothing else.
Tests of start-up and signals use `subprocess` instead.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, by the process forked from
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["mergan.run.experiment", "mergan.output.plots", "torchvision", "torch_fidelity"]
)


def run(
    words: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS`, a script with its arguments or -m and a module, and wait for its end.

    Args:
        words: the command line after "python".
        cwd: where it runs.
        environment: added to that of the tests; PYTHONPATH is heeded.
        timeout: seconds.

    Raises:
        subprocess.TimeoutExpired: the command took longer, and was killed. A note has its output and where
            each of its threads stood.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _processes.Process(
            target=_main, args=(list(words), cwd, dict(environment or {}), outputs, timeout)
        )
        process.start()
        process.join(timeout + 5)  # of which it needs a moment to say where it stands
        late = process.is_alive()
        if late:
            process.kill()
            process.join()
        said = [path.read_text(encoding="utf-8") if path.exists() else "" for path in outputs]
        if late:
            error = subprocess.TimeoutExpired(list(words), timeout)
            error.add_note("\n".join(said))
            raise error
        assert process.exitcode is not None
        return subprocess.CompletedProcess(list(words), process.exitcode, *said)


def _main(
    words: list[str], cwd: Path, environment: dict[str, str], outputs: list[Path], timeout: float
) -> None:
    for stream, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    faulthandler.dump_traceback_later(timeout, file=2)
    os.chdir(cwd)
    os.environ.update(environment)
    module = words[0] == "-m"
    script, sys.argv = words[module], words[module:]
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [str(cwd) if module else str(Path(script).parent), *paths]
    if module:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(script, run_name="__main__")
