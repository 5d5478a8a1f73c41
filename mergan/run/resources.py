"""The resources of this machine: the memory and disk that the process may use, and accelerators."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from omegaconf import DictConfig

from mergan.config import trainer_arguments
from mergan.system import processes
from mergan.system.errors import ConfigError

LIMITS = (  # of control groups, versions 2 and 1
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
)
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def memory() -> float | None:
    """Bytes of memory that are free or can be freed, swap included, within the limits of this process; None
    if the system does not tell.
    """
    limits = [_available(), *_group_limits()]
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            limits.append(float(soft))
    return min((limit for limit in limits if limit is not None), default=None)


def device_memory(trainer: DictConfig) -> float | None:
    """The same for the training device: the GPU, if there is one and the trainer may use it."""
    if on_gpus(trainer):
        return float(torch.cuda.mem_get_info()[0])
    return memory()


def device(trainer: Mapping[str, Any]) -> torch.device:
    """The device that Lightning's Trainer takes with these arguments.

    The judge is trained before there is a Trainer, and on the same device. Of several processes, each has its
    own.

    Raises:
        ConfigError: this machine does not have it.
    """
    check_accelerator(trainer)
    me = processes.me()
    if me.count > 1:
        return torch.device("cuda", me.local_rank) if on_gpus(trainer) else torch.device("cpu")
    name, devices = trainer.get("accelerator") or "auto", trainer.get("devices")
    if name in ("auto", "gpu"):
        gpus = ("mps", "cuda")
        name = next((gpu for gpu in gpus if AcceleratorRegistry.get(gpu).is_available()), "cpu")
    kind: Accelerator = AcceleratorRegistry.get(name)
    found = kind.get_parallel_devices(kind.parse_devices(1 if devices in (None, "auto") else devices))
    return torch.device(found[0])


def disk(folder: Path) -> float | None:
    """Free bytes on the disk of a folder, which need not exist yet, plus the bytes that the folder already
    holds: they may be the files in question.
    """
    there = next((part for part in (folder, *folder.absolute().parents) if part.is_dir()), None)
    if there is None:
        return None
    held = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    return float(shutil.disk_usage(there).free + held)


def shown(size: float) -> str:
    """A number of bytes for people to read: 21 GB, 1.5 TB."""
    power = 0
    while size >= 1000 and power < len(UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.2g} {UNITS[power]}" if size < 100 else f"{size:.0f} {UNITS[power]}"


def check_accelerator(trainer: Mapping[str, Any]) -> None:
    """Refuse accelerators and numbers of devices that this machine does not have.

    Raises:
        ConfigError: the message names the key and what is available.
    """
    name, devices = trainer.get("accelerator") or "auto", trainer.get("devices")
    known = ("auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators()))
    if name not in known:
        raise ConfigError(f"trainer.accelerator={name}: use one of {', '.join(known)}")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else int(torch.backends.mps.is_available())
    if name in ("gpu", "cuda") and gpus == 0:
        raise ConfigError(f"trainer.accelerator={name}: there is no gpu here; use cpu or auto")
    on_gpu = name in ("gpu", "cuda") or (name == "auto" and gpus > 0)
    several = trainer.get("strategy") == trainer_arguments.SEVERAL
    if devices in (None, "auto", -1, "-1") and on_gpu and gpus > 1 and not several:
        raise ConfigError(
            f"trainer.devices={devices}: {trainer_arguments.ONE_PROCESS}, here are {gpus}; "
            "use trainer.devices=1"
        )
    if devices is None or devices == "auto" or name not in ("auto", "cpu", "gpu", "cuda"):
        return
    most, kind = (gpus, "GPUs") if on_gpu else (trainer_arguments.processors(), "processors")
    numbers = (
        [int(part) for part in devices.split(",") if part.strip()] if isinstance(devices, str) else devices
    )
    if not isinstance(numbers, int):
        if isinstance(devices, str) and "," not in devices:
            numbers = numbers[0]
        elif not on_gpu:
            raise ConfigError(f"trainer.devices={devices}: {kind} have no numbers; use how many")
        elif any(number >= gpus for number in numbers):
            raise ConfigError(f"trainer.devices={devices}: there are only {gpus} GPUs, numbered from 0")
    if isinstance(numbers, int) and (numbers > most or (numbers < 1 and not (on_gpu and numbers == -1))):
        raise ConfigError(f"trainer.devices={devices}: this machine has {most} {kind}; use at most so many")


def processes_here(trainer: DictConfig) -> int:
    """How many processes `trainer=ddp` starts on this machine: one per GPU, or as many as it says.

    Args:
        trainer: arguments that `check_accelerator` has passed.

    Raises:
        ConfigError: it does not say how many, and there is no GPU.
    """
    devices = trainer.get("devices")
    if isinstance(devices, int):
        return devices
    if on_gpus(trainer):
        return torch.cuda.device_count()
    raise ConfigError(
        f"trainer.devices={devices}: there is no GPU here, so say how many processes, as trainer.devices=2"
    )


def on_gpus(trainer: Mapping[str, Any]) -> bool:
    """Whether processes of this trainer use CUDA, each a GPU of its own."""
    return trainer.get("accelerator") in (None, "auto", "gpu", "cuda") and torch.cuda.is_available()


def _available() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not on Linux
        return None
    values = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in lines}
    return values["MemAvailable"] + values.get("SwapFree", 0.0) if "MemAvailable" in values else None


def _group_limits() -> list[float]:
    """The memory limits of this process's control groups, from its own up to the root."""
    try:
        groups = [line.rpartition(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return []
    found = []
    for root, name in LIMITS:
        for group in groups:
            own = Path(root) / group.lstrip("/")
            for folder in (own, *own.parents):
                if not folder.is_relative_to(root):
                    break
                found += _limit(folder / name)
    return found


def _limit(file: Path) -> list[float]:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:  # this group does not exist here
        return []
    return [float(text)] if text.isdecimal() else []
