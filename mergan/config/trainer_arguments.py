"""Which arguments of Lightning's Trainer a configuration may set. Nothing here needs torch."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import DictConfig

from mergan.config import hints
from mergan.config.ranges import Count
from mergan.system.errors import ConfigError
from mergan.system.launched import member

THREADS = "OMP_NUM_THREADS"
DRIVERS = ("/proc/driver/nvidia", "/dev/dxg")  # of GPUs, on Linux and on its Windows subsystem

# arguments that this framework sets or that break its training steps, and what to use instead
STREAM = "the stream says how long it is, use epochs= and steps_per_epoch="
SHORT = "use debug=smoke for a short try"
NO_VALIDATION = "there is no validation loop here; evaluation.* says what is measured after each task"
BY_HAND = "the steps are optimised by hand here, leave it out"
OWNED = {
    **dict.fromkeys(("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time"), STREAM),
    "limit_train_batches": "use steps_per_epoch=",
    **dict.fromkeys(("fast_dev_run", "overfit_batches", "barebones"), SHORT),
    **dict.fromkeys(("limit_val_batches", "limit_test_batches", "limit_predict_batches",
                     "num_sanity_val_steps", "val_check_interval", "check_val_every_n_epoch"),
                    NO_VALIDATION),
    **dict.fromkeys(("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"), BY_HAND),
    "callbacks": "use callbacks.NAME=...",
    "logger": "use logger.NAME=...",
    "default_root_dir": "use hydra.run.dir=",
    "enable_checkpointing": "use callbacks.checkpoint.every_n_epochs=, or callbacks.checkpoint=null",
    "enable_progress_bar": "use callbacks.progress.bar=",
    "enable_model_summary": "leave it out",
    "plugins": "checkpoints are written by a plug-in of this framework, leave it out",
    "reload_dataloaders_every_n_epochs": "every epoch has a loader of its own here, leave it out",
    "use_distributed_sampler": "the loader divides the images among the processes, leave it out",
}  # fmt: skip
# images and z are float32; the gradient scaler of 16-mixed would have to see D's steps
PRECISIONS = ("32", "32-true", "bf16", "bf16-mixed")
SEVERAL = "ddp"  # the only way of Lightning's in which several processes share a run here
ONE_PROCESS = "a run is one process on one device, unless trainer=ddp shares it among several"

MOST_DEVICES = 64  # more than any machine has accelerators


def check(trainer: DictConfig) -> None:
    """Refuse arguments of Lightning's Trainer that this framework sets itself or that are out of range.

    Raises:
        ConfigError: the message names the key and what to use instead.
    """
    for name in trainer:
        if name in OWNED and trainer[name] is not None:
            raise ConfigError(f"trainer.{name}={trainer[name]}: {OWNED[str(name)]}")
    precision = trainer.get("precision")
    if precision is not None and str(precision) not in PRECISIONS:
        raise ConfigError(f"trainer.precision={precision}: use bf16-mixed or 32-true")
    several = trainer.get("strategy") == SEVERAL
    if not several and trainer.get("strategy") not in (None, "auto"):
        raise ConfigError(
            f"trainer.strategy={trainer.strategy}: {ONE_PROCESS}; use trainer=ddp or leave it out"
        )
    hints.check("trainer.num_nodes", trainer.get("num_nodes"), Count | None)
    if not several and trainer.get("num_nodes") not in (None, 1):
        raise ConfigError(f"trainer.num_nodes={trainer.num_nodes}: {ONE_PROCESS}, leave it out")
    _check_devices(trainer.get("devices"), trainer.get("accelerator"), several)
    _check_launch(trainer, several)


def _check_launch(trainer: DictConfig, several: bool) -> None:
    """Refuse a number of processes other than the launcher has started."""
    me = member()
    if not several:
        if me.count > 1 and me.starter != "srun":  # srun may have started several runs
            raise ConfigError(
                f"{me.starter} has started {me.count} processes: add trainer=ddp to share a run among them, "
                "or start it without"
            )
        return
    devices, machines = trainer.get("devices"), trainer.get("num_nodes")
    if me.count == 1:
        if machines not in (None, 1):
            raise ConfigError(
                f"trainer.num_nodes={machines}: start the processes of every machine with torchrun or srun "
                "(docs/several-processes.md), or leave it out"
            )
        return
    if isinstance(devices, int) and devices != me.local_count:
        raise ConfigError(
            f"trainer.devices={devices}: {me.starter} has started {me.local_count} processes on this "
            "machine; leave it out"
        )
    if machines not in (None, me.count // me.local_count):
        raise ConfigError(
            f"trainer.num_nodes={machines}: {me.starter} has started processes on "
            f"{me.count // me.local_count} machines; leave it out"
        )


def _check_devices(devices: Any, accelerator: Any, several: bool) -> None:
    """Check what does not depend on the machine's accelerators; `mergan.run.estimate` checks those."""
    key = f"trainer.devices={devices}"
    if devices is None or devices == "auto":
        return
    if isinstance(devices, str):
        parts = [part.strip() for part in devices.split(",") if part.strip()]
        if not parts or not all(part.lstrip("-").isdecimal() for part in parts):
            raise ConfigError(f'{key}: use a number, a list of numbers or "auto"')
        devices = int(devices) if "," not in devices else parts
    if isinstance(devices, bool) or devices in (0, "0") or (isinstance(devices, int) and devices < -1):
        raise ConfigError(f"{key}: use a number of 1 or more")
    if not isinstance(devices, int):
        if len(devices) == 0:
            raise ConfigError(f"{key}: name at least one")
        if accelerator == "cpu":
            raise ConfigError(f"{key}: processors have no numbers; use how many, as trainer.devices=1")
    elif devices > max(processors(), MOST_DEVICES) or (
        accelerator == "cpu" and not 1 <= devices <= processors()
    ):
        raise ConfigError(f"{key}: this machine has {processors()} processors; use no more, at least 1")
    if several and not (isinstance(devices, int) and devices > 0):
        raise ConfigError(f"{key}: say how many processes, as trainer.devices=2 (CUDA_VISIBLE_DEVICES says "
                          "on which GPUs)")  # fmt: skip
    if not several and (devices if isinstance(devices, int) else len(devices)) > 1:
        raise ConfigError(f"{key}: {ONE_PROCESS}; use trainer.devices=1, or trainer=ddp as well")


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_asked() -> int | None:
    """The threads per process that the user asks for with OMP_NUM_THREADS; None: nothing is said.

    Raises:
        ConfigError: it is no number of threads.
    """
    said = os.environ.get(THREADS, "")
    first = said.partition(",")[0].strip()  # further numbers are for nested regions
    if not first:
        return None
    if not first.isdecimal() or int(first) < 1:
        raise ConfigError(f"{THREADS}={said}: use a number of 1 or more, or unset it")
    return int(first)


def gpus(accelerator: str | None) -> list[str]:
    """The GPUs that runs side by side may take, as CUDA_VISIBLE_DEVICES names them. A machine without a
    driver is not asked by importing torch.

    Args:
        accelerator: `trainer.accelerator`.
    """
    if accelerator not in (None, "auto", "gpu", "cuda"):
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [part.strip() for part in visible.split(",") if part.strip() not in ("", "-1")]
    if not any(os.path.exists(path) for path in DRIVERS):
        return []
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
