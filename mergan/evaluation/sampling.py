"""Generated images for the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from mergan.data import denormalise

Generate = Callable[[Tensor, Tensor], Tensor]  # z (B, latent_dim), labels (B,) -> images in [-1, 1]
Stored = Callable[[int], Tensor | None]  # a class -> its Strategy.stored_images
CHUNK = 200  # images generated at a time


def nothing_stored(label: int) -> None:
    """All classes are generated."""


def latents(label: int, count: int, latent_dim: int, seed: int) -> Iterator[Tensor]:
    """`count` z of a class, in chunks (B, latent_dim) of at most `CHUNK`.

    They depend only on the seed and the class, not on the other requested classes.
    """
    rng = torch.Generator().manual_seed(seed * 1_000_003 + label)
    for start in range(0, count, CHUNK):
        yield torch.randn(min(CHUNK, count - start), latent_dim, generator=rng)


def images_of(generate: Generate, label: int, chunks: Iterable[Tensor]) -> Tensor:
    """Generate the images uint8 (N, C, S, S) of one class from chunks of z.

    Every batch holds one class, so a generator with batch statistics is measured the way it is used.
    """
    return torch.cat([denormalise(generate(z, torch.full((len(z),), label))).cpu() for z in chunks])


def sample_class(generate: Generate, label: int, count: int, latent_dim: int, seed: int) -> Tensor:
    """Generate `count` images of one class, uint8 (count, C, S, S); see `latents`."""
    return images_of(generate, label, latents(label, count, latent_dim, seed))


def sample(
    generate: Generate,
    classes: Sequence[int],
    per_class: int,
    latent_dim: int,
    seed: int,
    stored: Stored = nothing_stored,
) -> tuple[Tensor, Tensor]:
    """Generate images uint8 (N, C, S, S) with labels (N,), `per_class` of each of `classes`.

    Of a class with stored images all of these are taken instead.
    """
    kept = {label: stored(label) for label in classes}
    images = [
        sample_class(generate, label, per_class, latent_dim, seed) if found is None else found
        for label, found in kept.items()
    ]
    counts = torch.tensor([len(part) for part in images])
    return torch.cat(images), torch.tensor(classes).repeat_interleave(counts)
