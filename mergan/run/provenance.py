"""What a run was made with: `provenance.json` in the run folder."""

from __future__ import annotations

import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mergan.output.folder import RunFolder
from mergan.output.reading import read_sessions
from mergan.system import machine, processes
from mergan.system.files import write_text
from mergan.system.version import VERSION

ROOT = Path(__file__).resolve().parent.parent.parent  # a checkout's, or the folder of the installed packages
PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "numpy", "scipy")


class Session:
    """One session of a run: the work of one process from start to end. A run that goes on has several.

    A session is written when it begins. Its seconds and its peak of memory are added when it ends, so one
    that was interrupted has none.

    Args:
        folder: the run folder.
        device: the device that trains.
        first_step: generator steps of the run before this session; with 0, earlier sessions are forgotten.

    Raises:
        ConfigError: the file of earlier sessions cannot be read.
    """

    def __init__(self, folder: RunFolder, device: torch.device, first_step: int) -> None:
        self._folder, self._device = folder, device
        self._earlier = read_sessions(folder.provenance) if first_step > 0 else []
        self._begun: dict[str, Any] = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "first_step": first_step,
            "mergan": VERSION,
            "commit": machine.commit(ROOT),
            "python": platform.python_version(),
            "packages": machine.versions(PACKAGES),
            "system": platform.platform(),
            "processor": machine.processor(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
            "processes": processes.me().count,
        }
        self._write(self._begun)
        machine.forget_peak()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._clock = time.perf_counter()

    def end(self) -> None:
        """Add what the session took."""
        ended: dict[str, Any] = {
            "seconds": round(time.perf_counter() - self._clock, 2),
            "peak_memory_bytes": machine.peak_memory(),
        }
        if self._device.type == "cuda":
            ended["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated(self._device)
        self._write(self._begun | ended)

    def _write(self, session: dict[str, Any]) -> None:
        content = {"sessions": [*self._earlier, session]}
        write_text(self._folder.provenance, json.dumps(content, indent=2) + "\n")
