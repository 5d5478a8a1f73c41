"""Process settings that make training on a CPU faster without changing results."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT = 2**31 - 1  # bytes


def tune() -> None:
    """Apply all of these settings."""
    keep_freed_memory()
    ask_for_gpus_once()


def ask_for_gpus_once() -> None:
    """Without a GPU, keep PyTorch from searching for the driver library in every optimizer step.

    Adam checks in each step whether there is an accelerator. Lightning makes this check use NVML, so that it
    does not initialise CUDA. If the NVML library is missing, PyTorch searches for it again each time.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def keep_freed_memory() -> bool:
    """Let glibc keep the memory that tensors free, instead of returning it to the system.

    A training step frees and allocates the same few megabytes dozens of times. By default each allocation
    may fault in its pages again; this took 10 to 20 % of a step of the default networks. With this setting
    the process keeps its peak memory, at most `KEPT` bytes of it.

    Returns:
        Whether the process uses glibc.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl does not have it
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT) and mallopt(M_MMAP_THRESHOLD, KEPT))
