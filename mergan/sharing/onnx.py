"""`.onnx`: a program for onnxruntime and other engines, in one file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mergan.sharing.base import Draw, Format, traced
from mergan.system.errors import ConfigError, reason

if TYPE_CHECKING:
    from torch import Tensor

    from mergan.checkpoints.description import Description
    from mergan.run.rebuilding import TrainedGenerator

METADATA = "mergan"  # key of the description in the model's metadata


class Onnx(Format):
    """The generator as an ONNX graph: inputs `z` and `labels`, output `images`."""

    suffix = ".onnx"
    title = "an ONNX program"
    packages = ("onnx", "onnxscript", "onnxruntime")
    needs = "onnxruntime"
    advice = "An engine runs the operations in the file and no other code."

    def write(self, generator: TrainedGenerator, description: Description, path: Path) -> None:
        import torch

        program = traced(generator)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, about its own parts
                exported = torch.onnx.export(
                    program,
                    dynamo=True,
                    verbose=False,
                    input_names=["z", "labels"],
                    output_names=["images"],
                )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ConfigError(
                f"out: ONNX has no form of this generator ({reason(error)}); use .pt2 or .safetensors"
            ) from error
        assert exported is not None
        model = exported.model
        for node in model.graph.all_nodes():
            node.metadata_props.clear()  # where the operation stands in the sources
        model.metadata_props[METADATA] = description.to_json()
        model.producer_name, model.producer_version = "mergan", description.version
        exported.save(path, external_data=False)

    def read(self, path: Path, generator: TrainedGenerator) -> Draw:
        import onnxruntime
        import torch

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def draw(z: Tensor, labels: Tensor) -> Tensor:
            (images,) = session.run(None, {"z": z.numpy(), "labels": labels.numpy()})
            return torch.from_numpy(images)

        return draw

    def example(self, name: str) -> str:
        return f"""\
import json

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({name!r})
about = json.loads(session.get_modelmeta().custom_metadata_map["{METADATA}"])
labels = np.repeat(np.array(about["learned"], dtype=np.int64), 10)
z = np.random.default_rng(0).standard_normal((len(labels), about["latent_dim"]), dtype=np.float32)
(images,) = session.run(None, {{"z": z, "labels": labels}})  # float32, from -1 to 1
pixels = ((images + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
"""
