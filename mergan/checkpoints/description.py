"""What an exported generator says of itself: its classes, its shapes, its data and how it was trained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from annotated_types import Len

from mergan.config import hints
from mergan.config.ranges import Channels, Count32, ImageSize, Whole32
from mergan.system.errors import CheckpointError
from mergan.system.version import VERSION

FORMAT = 1
VALUE_RANGE = [-1.0, 1.0]  # of the images


@dataclass(frozen=True)
class Description:
    """A generator in words and numbers. Every exported file carries it as JSON; the model card is made of it.

    Attributes:
        version: the version of mergan that trained it.
        class_names: names of all classes of the data set; the label of a class is its place here.
        learned: the labels of the classes that it has learned.
        latent_dim: size of z.
        channels: channels of the images.
        image_size: side of the images in pixels.
        data: name of the data set.
        licence: under which licence the data set's images are.
        training: settings of the run by their full key, and how long it trained.
        figures: what was measured, by the names of metrics.json.
    """

    version: str
    class_names: Annotated[list[str], Len(1)]
    learned: Annotated[list[Whole32], Len(1)]
    latent_dim: Count32
    channels: Annotated[int, Channels]
    image_size: Annotated[int, ImageSize]
    data: str
    licence: str
    training: dict[str, Any]
    figures: dict[str, Any]

    def to_plain(self) -> dict[str, Any]:
        """The description as JSON can hold it."""
        return {"format": FORMAT, **dataclasses.asdict(self), "value_range": VALUE_RANGE}

    def to_json(self) -> str:
        """The description as JSON in ASCII."""
        return json.dumps(self.to_plain())

    @classmethod
    def from_plain(cls, content: Any) -> Description:
        """Read a description from a file that may come from anybody.

        Args:
            content: anything that JSON can hold.

        Raises:
            CheckpointError: it is not a description in the current format; the message names the entry.
        """
        if not isinstance(content, Mapping) or content.get("format") != FORMAT:
            raise CheckpointError(
                f"its description is not in format {FORMAT}, which mergan {VERSION} reads; "
                "a later version may read it"
            )
        own: dict[str, Any] = {}
        for name, hint in get_type_hints(cls, include_extras=True).items():
            own[name] = content.get(name)
            _require(hints.fits(own[name], hint), name)
        description = cls(**own)
        _check_classes(description.class_names, description.learned)
        for name in ("training", "figures"):
            plain = all(type(value) in (str, int, float, bool) for value in own[name].values())
            _require(plain, name)
        return description


def _check_classes(names: list[str], learned: list[int]) -> None:
    _require(len(set(names)) == len(names), "class_names", "not all different")
    _require(len(set(learned)) == len(learned) and max(learned) < len(names), "learned", "not of its classes")


def _require(holds: bool, name: str, wrong: str = "missing or of another type") -> None:
    if not holds:
        raise CheckpointError(f"its description is not as mergan writes it: {name} is {wrong}")
