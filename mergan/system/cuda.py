"""Process settings for training on a GPU of NVIDIA."""

from __future__ import annotations

import os

import torch

WORKSPACE = ":4096:8"  # of cuBLAS, one of the two with which its products are reproducible


def reproduce() -> None:
    """Let operations on GPUs give the same bits in every run, for the rest of this process.

    By default several of them add in the order in which their threads end: the gradients of convolutions, and
    whatever scatters. Two runs with the same seed then part within the first task. An operation that has no
    reproducible form warns.

    Call it before the first product on a GPU. (See "Reproducibility" in PyTorch's notes.)
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # nothing here reads memory before it is written, and filling it takes time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False  # which may choose another algorithm in every process
