"""Images on the way from one z to another."""

from __future__ import annotations

import torch
from torch import Tensor

from mergan.evaluation.sampling import CHUNK, Generate, images_of, latents

PARALLEL = 1e-4  # radians between two directions that a straight line joins as well


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Spherical interpolation (Shoemake 1985), as "Sampling Generative Networks" (White 2016) proposes for z.

    A straight line would pass near the origin, where a normal distribution of many dimensions has no
    samples:

        z(t) = sin((1 - t) w) / sin(w) * start + sin(t w) / sin(w) * end,  w: the angle between the two

    Args:
        start, end: z (N, latent_dim), the ends of N paths.
        steps: points of each path, both ends included; at least 2.

    Returns:
        z (N, steps, latent_dim). Where the ends are parallel, the points lie on a straight line.
    """
    t = torch.linspace(0, 1, steps)[None, :, None]
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1).clamp(-1, 1)[:, None, None]
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    straight = sine < PARALLEL
    sine = torch.where(straight, torch.ones_like(sine), sine)
    before = torch.where(straight, 1 - t, torch.sin((1 - t) * angle) / sine)
    after = torch.where(straight, t, torch.sin(t * angle) / sine)
    return before * start[:, None] + after * end[:, None]


def sample_paths(
    generate: Generate, label: int, count: int, steps: int, latent_dim: int, seed: int
) -> Tensor:
    """Generate `count` paths of one class, each from its z to the next one, uint8 (count, steps, C, S, S).

    The z are those of `sample_class` for one image more, so that a path begins where the one before it ends.
    """
    z = torch.cat(list(latents(label, count + 1, latent_dim, seed)))
    points = slerp(z[:-1], z[1:], steps).flatten(0, 1)
    return images_of(generate, label, points.split(CHUNK)).unflatten(0, (count, steps))
