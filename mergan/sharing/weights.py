"""`.safetensors`: the weights, with all that rebuilds the generator in the header; for users of mergan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mergan.checkpoints.generator_file import SUFFIX
from mergan.sharing.base import Draw, Format

if TYPE_CHECKING:
    from mergan.checkpoints.description import Description
    from mergan.run.rebuilding import TrainedGenerator


class Weights(Format):
    """The format to share: loading it runs no code and reads no pickle."""

    suffix = SUFFIX
    title = "weights in the safetensors format, with what rebuilds the generator in the header"
    packages = ("safetensors",)
    needs = "mergan"
    advice = "Loading the file runs no code from it, whoever wrote it."

    def write(self, generator: TrainedGenerator, description: Description, path: Path) -> None:
        from mergan.checkpoints import generator_file

        content = generator_file.GeneratorFile(generator.state, description, generator.parts)
        generator_file.write(path, content)

    def read(self, path: Path, generator: TrainedGenerator) -> Draw:
        from mergan.checkpoints.trust import of_command
        from mergan.run.exported import load_exported

        # the parts of the generator name what the file may name
        return load_exported(path, of_command(generator.parts, [])).cpu()

    def example(self, name: str) -> str:
        return f"""\
import mergan

generator = mergan.load({name!r})
pixels, labels = generator.sample(generator.seen, per_class=10, seed=0)
pixels = pixels.numpy()
"""
