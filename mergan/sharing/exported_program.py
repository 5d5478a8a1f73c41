"""`.pt2`: a program of torch.export, for PyTorch alone."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mergan.sharing.base import Draw, Format, traced

if TYPE_CHECKING:
    from mergan.checkpoints.description import Description
    from mergan.run.rebuilding import TrainedGenerator

EXTRA = "mergan.json"  # name of the description in the archive


class ExportedProgram(Format):
    """The generator as a program of torch.export."""

    suffix = ".pt2"
    title = "a program of torch.export"
    needs = "torch"
    advice = "torch.export.load reads pickles: load such a file only from somebody you trust."

    def write(self, generator: TrainedGenerator, description: Description, path: Path) -> None:
        import torch

        program, archive = traced(generator), io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about its own parts
            torch.export.save(program, archive, extra_files={EXTRA: description.to_json()})
        path.write_bytes(archive.getbuffer())  # torch's own writer aborts the process if the disk is full

    def read(self, path: Path, generator: TrainedGenerator) -> Draw:
        import torch

        with path.open("rb") as file:
            draw: Draw = torch.export.load(file).module()
        return draw

    def example(self, name: str) -> str:
        return f"""\
import json

import torch

extra = {{"{EXTRA}": ""}}
generator = torch.export.load({name!r}, extra_files=extra).module()
about = json.loads(extra["{EXTRA}"])
labels = torch.tensor(about["learned"]).repeat_interleave(10)
z = torch.randn(len(labels), about["latent_dim"], generator=torch.Generator().manual_seed(0))
images = generator(z, labels)  # float32, from -1 to 1
pixels = ((images + 1) * 127.5).round().clip(0, 255).to(torch.uint8).numpy()
"""
