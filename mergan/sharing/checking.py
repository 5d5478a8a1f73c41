"""Run an exported file and compare its images with those of the generator that it was written from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mergan.run.rebuilding import TrainedGenerator
from mergan.sharing.base import Format
from mergan.system.errors import ConfigError, reason

SIZES = (1, 7)  # of the batches; an export that freezes its own size fails at one of them
TOLERANCE = 1e-3  # in values from -1 to 1: an eighth of a grey level


def check(form: Format, file: Path, generator: TrainedGenerator, out: Path) -> float:
    """Compare the images of a file with those of mergan.

    Args:
        form: format of the file.
        file: the file.
        generator: the generator, on the CPU.
        out: how the file will be called, for messages.

    Returns:
        The largest difference of a value.

    Raises:
        ConfigError: the file cannot be run, or draws other images; the message says at which batch size.
    """
    worst = 0.0
    try:
        draw = form.read(file, generator)
    except Exception as error:  # engines raise errors of their own
        raise ConfigError(f"out={out}: the exported file cannot be opened ({reason(error)})") from error
    for size in SIZES:
        z, labels = _inputs(generator, size)
        wanted = generator(z, labels)
        try:
            images = draw(z, labels)
        except Exception as error:
            raise ConfigError(
                f"out={out}: the exported file does not run with a batch of {size} ({reason(error)})"
            ) from error
        if images.shape != wanted.shape or images.dtype != wanted.dtype:
            raise ConfigError(
                f"out={out}: the exported file returns {images.dtype} {tuple(images.shape)} for a batch of "
                f"{size}, not {wanted.dtype} {tuple(wanted.shape)}"
            )
        difference = float((images - wanted).abs().max())
        if not difference <= TOLERANCE:
            raise ConfigError(
                f"out={out}: the exported file draws other images than the generator with a batch of {size}: "
                f"the largest difference is {difference:.2g}, more than {TOLERANCE:.0e}"
            )
        worst = max(worst, difference)
    return worst


def depends_on_batch(generator: TrainedGenerator) -> bool:
    """Whether an image depends on the others in its batch, as with batch statistics."""
    z, labels = _inputs(generator, SIZES[-1])
    alone = torch.cat([generator(z[i : i + 1], labels[i : i + 1]) for i in range(len(z))])
    return float((alone - generator(z, labels)).abs().max()) > TOLERANCE


def _inputs(generator: TrainedGenerator, size: int) -> tuple[Tensor, Tensor]:
    """z (size, latent_dim) and labels (size,) that go through the learned classes, each at least twice."""
    rng = torch.Generator().manual_seed(size)
    learned = torch.tensor(generator.seen)
    return torch.randn(size, generator.latent_dim, generator=rng), learned[
        torch.arange(size) // 2 % len(learned)
    ]
