"""Settings of the process that make training on a CPU faster and change no result."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT = 2**31 - 1  # bytes


def tune() -> None:
    """Make all of them."""
    keep_freed_memory()
    ask_for_gpus_once()


def ask_for_gpus_once() -> None:
    """Where there is no GPU, keep PyTorch from looking for the driver's library in every optimizer step.

    Adam asks in each step whether there is an accelerator. Lightning has that question answered by NVML,
    so that no process initialises CUDA by asking; a missing library is looked for again each time.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def keep_freed_memory() -> bool:
    """Let glibc keep the memory that tensors free, instead of handing it back to the system.

    A training step frees and takes the same few megabytes dozens of times. By default each of these
    may fault in its pages anew, which took a tenth to a fifth of a step of the default networks.
    The process then holds on to its peak, at most `KEPT` bytes of it.

    Returns:
        Whether there is a glibc to tell.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has none
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT) and mallopt(M_MMAP_THRESHOLD, KEPT))
