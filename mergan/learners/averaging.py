"""The moving average of the generator's weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mergan.config.ranges import Fraction


class MovingAverage(AveragedModel):
    """An exponential moving average of weights and buffers: PyTorch's, without waiting for the device.

    PyTorch's own class asks in every update whether it is the first one, which takes the weights as they are.
    The answer stands on the device, so the CPU waits twice per step until the device has finished.

    Args:
        model: what is averaged; the average begins as a copy of it.
        decay: weight of the average so far, in an update.
    """

    def __init__(self, model: nn.Module, decay: Fraction) -> None:
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.requires_grad_(False)
        self._begun = False

    def update_parameters(self, model: nn.Module) -> None:
        """Update the average with the current weights and buffers of `model`, on the same device."""
        if not self._begun:
            super().update_parameters(model)  # a resumed average is not at its beginning
            self._begun = True
            return
        pairs: dict[object, tuple[list[Tensor], list[Tensor]]] = {}
        for average, current in zip(_values(self.module), _values(model), strict=True):
            averages, currents = pairs.setdefault(average.dtype, ([], []))
            averages.append(average)
            currents.append(current)
        assert self.multi_avg_fn is not None
        for averages, currents in pairs.values():
            self.multi_avg_fn(averages, currents, self.n_averaged)
        self.n_averaged += 1


def _values(module: nn.Module) -> list[Tensor]:
    return [value.detach() for value in (*module.parameters(), *module.buffers())]
