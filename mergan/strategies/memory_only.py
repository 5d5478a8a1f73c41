"""A memory of real images in place of a generator: the yardstick of every method that replays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mergan.data import normalise
from mergan.strategies.memory import RealMemory


class MemoryOnly(RealMemory):
    """Measures what the stored images of RealMemory are worth by themselves.

    A generator is worth its bytes if its images are worth more than as many bytes of real ones. All measures
    take the stored images of a class in place of generated ones. So the reverse accuracy is that of a fresh
    classifier trained on the whole memory, with the same network, augmentation and number of steps as for a
    generator. The networks are trained as by fine-tuning, and nothing depends on them.

    `generate` draws the stored images of the class uniformly:

        x = stored image number floor(m * Phi(z_1)),   m stored images of the class

    where Phi is the distribution function of N(0, 1) and z_1 the first component of z. A class that is not
    yet stored, because its task goes on, is drawn by the generator.

    Args:
        capacity, unit: see RealMemory.
    """

    def stored_images(self, label: int) -> Tensor | None:
        """All stored images of the class; None if there is none."""
        images, _ = self.held((label,))
        return images.cpu() if len(images) else None

    @torch.no_grad()
    def generate(self, generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
        """A stored image of each requested class, chosen by z."""
        # without branches and sizes that depend on values, so that it can be traced (mergan.sharing)
        fits = self.labels == labels[:, None]
        count = fits.sum(dim=1)
        rank = (torch.special.ndtr(z[:, 0]) * count).long().clamp(max=(count - 1).clamp(min=0))
        place = (fits & (fits.cumsum(dim=1) == rank[:, None] + 1)).int().argmax(dim=1)
        images = normalise(self.images[place])
        return torch.where((count > 0)[:, None, None, None], images, generator(z, labels).float())
