"""What a format of exported generators is, and the generator as a computation that a format can hold."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mergan.system.errors import ConfigError, reason

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mergan.checkpoints.description import Description
    from mergan.run.rebuilding import TrainedGenerator

Draw = Callable[["Tensor", "Tensor"], "Tensor"]  # z (N, latent_dim), labels (N,) -> images (N, C, S, S)


class Format(ABC):
    """A kind of file, with the way to write it and the way to use it.

    Attributes:
        suffix: of its files.
        title: what such a file is, for the model card.
        packages: what must be installed to write it, by the names of import.
        needs: what a user of the file must install, as on the command line of pip.
        advice: a sentence about files of this kind from other people.
    """

    suffix: str
    title: str
    packages: tuple[str, ...] = ()
    needs: str
    advice: str

    def check_installed(self) -> None:
        """Refuse to go on without the packages.

        Raises:
            ConfigError: the message says what to install.
        """
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"out=*{self.suffix}: needs {', '.join(missing)}; install with pip install 'mergan[export]'"
            )

    @abstractmethod
    def write(self, generator: TrainedGenerator, description: Description, path: Path) -> None:
        """Write a generator, which is on the CPU, to `path`; the caller makes it atomic.

        Raises:
            ConfigError: the format cannot hold this generator.
        """

    @abstractmethod
    def read(self, path: Path, generator: TrainedGenerator) -> Draw:
        """Open a file that was written from `generator`, as a user of it does."""

    @abstractmethod
    def example(self, name: str) -> str:
        """A program that draws ten images of each learned class, from the file of that name, into `pixels`,
        uint8 (N, C, S, S).
        """


def traced(generator: TrainedGenerator) -> torch.export.ExportedProgram:
    """The computation z float32 (N, latent_dim), labels int64 (N,) -> images float32 (N, C, S, S), any N.

    Networks and strategy are taken in their plain forms, which hold for any N; see mergan.networks.plain.

    Raises:
        ConfigError: the code of a network or a strategy cannot be traced.
    """
    import torch

    from mergan.networks.plain import plain_form
    from mergan.strategies import Strategy

    class Sampling(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.strategy = plain_form(generator.network), plain_form(generator.sampling)
            self.requires_grad_(False).eval()

        def forward(self, z: Tensor, labels: Tensor) -> Tensor:
            assert isinstance(self.strategy, Strategy)
            images = self.strategy.generate(self.network, z, labels)
            return images.float()

    names = type(generator.network).__qualname__, type(generator.strategy).__qualname__
    many = {0: torch.export.Dim("N", min=1)}
    inputs = torch.zeros(3, generator.latent_dim), torch.zeros(3, dtype=torch.int64)
    try:
        with torch.no_grad():
            program = torch.export.export(Sampling(), inputs, dynamic_shapes={"z": many, "labels": many})
    except Exception as error:  # tracing runs code of anybody and raises what that raises
        raise ConfigError(
            f"out: torch.export cannot trace {names[0]} with {names[1]} for any batch size "
            f"({reason(error)}); give such layers a plain form (mergan.networks.plain), or use .safetensors"
        ) from error
    _forget_origins(program)
    return program


def _forget_origins(program: torch.export.ExportedProgram) -> None:
    """Remove the source files, with the folders of this machine, that tracing notes at every operation."""
    for module in program.graph_module.modules():
        graph = getattr(module, "graph", None)
        for node in graph.nodes if graph is not None else ():
            for key in ("stack_trace", "source_fn_stack", "from_node"):
                node.meta.pop(key, None)
