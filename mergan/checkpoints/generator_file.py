"""A generator to share: a safetensors file whose header holds all that rebuilds it. No pickle is involved.

The header's `__metadata__` holds one JSON text under `mergan`, with the `description` of the generator and
`config`, the part of the run's configuration that names its network and what its sampling needs.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from mergan.checkpoints.contents import MAX_VALUES, num_values
from mergan.checkpoints.description import Description
from mergan.system.errors import CheckpointError, reason

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
MAX_HEADER = 2**24  # bytes; room for a hundred thousand class names, and read in a second
LENGTH = 8  # bytes of the header's length, at the beginning of the file
METADATA = "__metadata__"
KEY = "mergan"  # the only entry: the library writes several in any order, and files would differ
PARTS = ("network", "learner", "strategy")  # of the configuration


class GeneratorFile(NamedTuple):
    """The content of such a file.

    Attributes:
        tensors: the weights, `generator.*` and, if the sampling needs it, `strategy.*`.
        description: what the generator says of itself.
        config: `network.generator`, `learner._target_` and `strategy` as in config.yaml; the strategy is null
            unless it changes the sampling. Foreign data: see mergan.checkpoints.trust.
    """

    tensors: dict[str, Tensor]
    description: Description
    config: dict[str, Any]


def write(path: Path, content: GeneratorFile) -> None:
    """Write the file; the caller makes it atomic."""
    from safetensors.torch import save

    about = {"description": content.description.to_plain(), "config": content.config}
    # the format refuses tensors that share memory, as tied weights do
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in content.tensors.items()}
    path.write_bytes(save(tensors, {KEY: json.dumps(about)}))


def read(path: Path) -> GeneratorFile:
    """Read the file as data: it takes no more memory than twice its size.

    Raises:
        CheckpointError: it is missing, cut, changed or not written by mergan; the message names it.
    """
    try:
        return _parsed(_content(path))
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error


def _content(path: Path) -> bytes:
    """The bytes of a regular file; opening a FIFO would wait for a writer."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointError("not a file")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})") from error


def _parsed(content: bytes) -> GeneratorFile:
    length = int.from_bytes(content[:LENGTH], "little")
    if len(content) < LENGTH or length > min(MAX_HEADER, len(content) - LENGTH):
        raise CheckpointError("not a whole safetensors file")
    from safetensors.torch import load

    try:
        header = _mapping(content[LENGTH : LENGTH + length].decode("utf-8"))
        tensors = load(content)  # which checks that shapes, types and places agree with the size of the file
    except CheckpointError:
        raise
    except Exception as error:  # the library raises its own errors and Python's
        raise CheckpointError(f"not a readable safetensors file ({reason(error)})") from error
    metadata = header.get(METADATA)
    if not isinstance(metadata, Mapping) or KEY not in metadata:
        raise CheckpointError("not a generator that mergan exported")
    about = _mapping(metadata[KEY])
    description = Description.from_plain(about.get("description"))
    return GeneratorFile(tensors, description, _checked_config(about.get("config")))


def _mapping(text: str) -> dict[str, Any]:
    """The mapping that a JSON text holds."""
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"its header cannot be read ({reason(error)})") from error
    if not isinstance(content, Mapping):
        raise CheckpointError("its header is no JSON object")
    return dict(content)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _checked_config(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise CheckpointError("its configuration is none of a generator")
    network, learner, strategy = map(config.get, PARTS)
    whole = set(config) == set(PARTS) and isinstance(learner, Mapping) and set(learner) == {"_target_"}
    generator = network.get("generator") if isinstance(network, Mapping) and len(network) == 1 else None
    if not whole or not isinstance(generator, Mapping) or not isinstance(strategy, Mapping | None):
        raise CheckpointError("its configuration is none of a generator")
    if num_values(config) > MAX_VALUES:
        raise CheckpointError(f"its configuration has more than {MAX_VALUES} values")
    return config
