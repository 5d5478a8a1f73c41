"""The recipe: rules for the settings of the training that depend on the kind of images.

docs/experiments.md has the measurements behind the numbers. Small grey images of single shapes need little.
Colour images with backgrounds need a stronger discriminator, or the generator of the first class collapses,
and a generator whose norms let z set the colours, or it leaves backgrounds out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

PIXELS = 32  # the image size at which widths were measured
NARROWEST = 16  # oneDNN computes 16 channels at a time
FEW = 800  # images of a class; with fewer, the discriminator learns them by heart

PRIVATE_Z = 16  # components of z that each class maps with weights of its own
MOST_PRIVATE = 50  # classes; the optimizer's work grows with their number

GREY_EPOCHS = 5  # per task, of 100 steps by default
COLOUR_STEPS = 1600  # per task
COLOUR_FIRST_STEPS = 3000  # of the first task: later ones begin with a generator that knows backgrounds


class Images(Protocol):
    """What the rules ask about the images, and about the stream."""

    @property
    def channels(self) -> int:
        """1 grey, 3 colour."""

    @property
    def image_size(self) -> int:
        """Side in pixels."""

    @property
    def images_per_class(self) -> float:
        """Mean number of training images of a class."""

    @property
    def num_classes(self) -> int:
        """Number of classes of the data."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""

    @property
    def num_tasks(self) -> int | None:
        """Number of tasks that follow one another; None if networks continue an earlier stream, or if all
        classes are learned at once.
        """


def _width(images: Images) -> int:
    """The finest maps take most of the time; twice the side, half as many channels."""
    if images.channels == 1:
        return 16
    return max(NARROWEST, 32 * PIXELS // max(PIXELS, images.image_size))


def _epochs(images: Images) -> int | list[int]:
    def epochs(steps: int) -> int:
        return math.ceil(steps / images.steps_per_epoch)

    if images.channels == 1:
        return GREY_EPOCHS
    if images.num_tasks is None:
        return epochs(COLOUR_STEPS)
    return [epochs(COLOUR_FIRST_STEPS), *[epochs(COLOUR_STEPS)] * (images.num_tasks - 1)]


def _private_z(images: Images) -> int:
    """With weights of its own a new class changes less of what earlier ones need."""
    several = images.num_tasks is not None and images.num_tasks > 1
    return PRIVATE_Z if images.channels == 3 and several and images.num_classes <= MOST_PRIVATE else 0


def _augmented(images: Images) -> float:
    return 1.0 if images.channels == 3 and images.images_per_class < FEW else 0.0


RULES: dict[str, Callable[[Images], Any]] = {
    "network.generator.width": _width,
    "network.discriminator.width": _width,
    "network.generator.modulation": lambda images: "class" if images.channels == 1 else "class_and_z",
    "network.generator.private_z": _private_z,
    "objective.mode_seeking": lambda images: 0.05 if images.channels == 1 else 0.0,
    "augmentation.probability": _augmented,
    "epochs": _epochs,
}
