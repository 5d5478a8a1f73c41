"""The same network in the textbook formulas of its layers, for programs that run without mergan.

Some layers compute in ways that are fast in training but that a traced program cannot keep: they fold the
batch into the channels, or split it into chunks, so that the trace holds for one batch size only. Such a
layer has a method `plain`.
"""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class HasPlainForm(Protocol):
    """A layer that can state itself in PyTorch's own operations, one sample beside the other."""

    def plain(self) -> nn.Module:
        """A module that returns the same up to rounding, for any batch size."""


def plain_form(network: nn.Module) -> nn.Module:
    """A copy of a network in which every layer that has a plain form is replaced by it.

    Args:
        network: any module; itself and its submodules may be a HasPlainForm.
    """
    return _replaced(copy.deepcopy(network))


def _replaced(module: nn.Module) -> nn.Module:
    for name, part in list(module.named_children()):
        setattr(module, name, _replaced(part))
    return module.plain() if isinstance(module, HasPlainForm) else module
