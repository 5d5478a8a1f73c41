"""The weights of a network, or their gradients, as one vector."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """The values of the tensors (W,), one tensor after another; a copy that autograd follows.

    torch.nn.utils.parameters_to_vector does not take tensors in channels-last order.
    """
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
