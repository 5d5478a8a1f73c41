"""A device that is not the CPU, for machines without a GPU.

Its tensors hold their values in a tensor of the CPU, with which PyTorch computes, so whole runs really run.
To the program they are elsewhere: an operation on tensors of both devices fails, as it does on a GPU, and
what would make the CPU wait for a GPU is recorded. What only CUDA has is not seen: memory, speed, kernels.

PyTorch's FakeTensorMode cannot replace it. Where PyTorch is built for CUDA and finds no GPU, a fake cuda
tensor cannot be differentiated, and without values nothing can be evaluated. The device bears the name
"meta", because PyTorch's autograd needs a device that it knows, and knows meta on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry, CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.connectors import accelerator_connector
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

HERE, THERE = torch.device("cpu"), torch.device("meta")
ACCELERATOR = "elsewhere"  # its name in Lightning: trainer.accelerator=elsewhere

COPIES = {"_to_copy", "copy_"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
JOINS = {"cat", "stack"}  # they take no number of the CPU either
# they return a number, or the size of their result depends on values, which are read back first
READS_VALUES = {
    *("_local_scalar_dense", "equal", "nonzero", "masked_select", "bincount", "histc"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"),
    "isin",  # with many elements it sorts them and leaves out duplicates
}


class Elsewhere(Tensor):
    """A tensor on the other device.

    Args:
        value: the same tensor on the CPU.
    """

    value: Tensor

    @staticmethod
    def __new__(cls, value: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            value.size(),
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=THERE,
        )
        made.value = value
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: a tensor of the other device outside of `device`")

    def __repr__(self, **unused: Any) -> str:  # type: ignore[override]
        return f"Elsewhere({tuple(self.shape)}, {self.dtype})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.value.__reduce_ex__(protocol)  # a checkpoint is read on the CPU

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = Elsewhere(self.value.detach().clone())
        return nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied


class Watch(TorchDispatchMode):
    """Computes on the other device.

    Attributes:
        waits: what would have made the CPU wait for a GPU, with its place in the program. To be emptied by
            whoever reads it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves, spec = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        there = any(isinstance(tensor, Elsewhere) for tensor in tensors)
        asked = kwargs.get("device")
        result = torch.device(asked) if asked is not None else THERE if there else HERE
        if not there and result == HERE:
            return func(*args, **kwargs)
        blocks = not (
            kwargs.get("non_blocking") or (len(args) > 2 and args[2] is True)
        )  # copy_ takes it third
        self._look(func._overloadpacket.__name__, tensors, result, blocks)
        values = [leaf.value if isinstance(leaf, Elsewhere) else leaf for leaf in leaves]
        plain, named = tree_unflatten(values, spec)
        out = func(*plain, **(named if asked is None else named | {"device": HERE}))
        if result == HERE:
            return out
        wrapped = tree_map_only(Tensor, Elsewhere, out)
        return return_and_correct_aliasing(func, args, kwargs, wrapped)

    def _look(self, name: str, tensors: list[Tensor], result: torch.device, blocks: bool) -> None:
        """Refuse what a GPU refuses, record what it makes the CPU wait for."""
        others = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere)]
        if name in COPIES:
            # an upload that does not block is over when the values have left the memory of the CPU
            if result == HERE or (others and blocks):
                self.waits.append(f"{name} between the devices, {_place()}")
            return
        indices = name in INDEXING and {tensor.dtype for tensor in tensors[1:]}
        if name in INDEXING and others and others[0] is not tensors[0]:
            self.waits.append(f"{name} by indices of the CPU, {_place()}")
        elif any(tensor.dim() > 0 or name in JOINS for tensor in others):
            raise RuntimeError(f"{name} of tensors on both devices, {_place()}")
        if name in READS_VALUES or (indices and indices & {torch.bool, torch.uint8}):
            self.waits.append(f"{name}, {_place()}")


class Python(TorchFunctionMode):
    """What PyTorch does before it dispatches: it moves lists, and looks where a generator is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        device = torch.device(kwargs.get("device") or HERE)
        generator = kwargs.get("generator")
        if isinstance(generator, Generator) and generator.place != device:
            raise RuntimeError(f"{func.__name__} on {device} by a generator on {generator.place}, {_place()}")
        if func is Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].cpu().tolist()
        if func is Tensor.new_tensor and isinstance(args[0], Elsewhere):
            func, device = torch.tensor, torch.device(kwargs.get("device") or THERE)
            args, kwargs = args[1:], {"dtype": args[0].dtype} | kwargs
        if func in (torch.tensor, torch.as_tensor) and device == THERE:
            return func(*args, **kwargs | {"device": HERE}).to(THERE)
        return func(*args, **kwargs)


class Generator(torch.Generator):
    """A generator of random numbers on either device."""

    place: torch.device

    def __new__(cls, device: torch.device | str = HERE) -> Generator:
        made = super().__new__(cls, HERE)
        made.place = torch.device(device)
        return made


class Accelerator(CPUAccelerator):
    """Lightning's view of the other device."""

    def setup_device(self, device: torch.device) -> None: ...

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [THERE]

    @staticmethod
    def name() -> str:
        return ACCELERATOR


@contextmanager
def device() -> Iterator[Watch]:
    """Provide the other device, as `trainer.accelerator=elsewhere`, and watch what is computed on it."""
    optimizers = sys.modules["torch.optim.optimizer"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: ["cpu", THERE.type])
        patch.setattr(
            accelerator_connector, "SingleDeviceStrategy", lambda device: SingleDeviceStrategy(THERE)
        )
        AcceleratorRegistry.register(ACCELERATOR, Accelerator, description="the other device", override=True)
        # a parameter that moves becomes another kind of tensor, and stays the same object
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            with Python(), Watch() as watch:
                yield watch
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)
            AcceleratorRegistry.remove(ACCELERATOR)


def _place() -> str:
    """The file and the line outside of PyTorch's own folders that the current operation comes from."""
    frame = sys._getframe(2)
    while frame.f_back and ("/torch/" in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
