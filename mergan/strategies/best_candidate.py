"""The rejection sampling of deep generative replay, written without branches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mergan.strategies.base import Strategy


class BestCandidate(Strategy):
    """Draws all candidates of all images at once, and keeps the one that DeepGenerativeReplay.generate keeps.

    A traced program has no branches, so nothing stops the search early: an image costs `tries` images.

    Args:
        solver, constant, tries, confidence: see DeepGenerativeReplay.
    """

    constant: Tensor

    def __init__(self, solver: nn.Module, constant: Tensor, tries: int, confidence: float) -> None:
        super().__init__()
        self.solver = solver
        self.register_buffer("constant", constant)
        self.tries = tries
        self.confidence = confidence

    @torch.no_grad()
    def generate(self, generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
        """Images (B, C, S, S) that the solver assigns to labels (B,), from z (B, latent_dim)."""
        # sizes come from `shape`: `len` returns a number, at which a trace would freeze
        batch, dim = z.shape
        tries = min(self.tries, dim)
        turns = torch.arange(tries, device=z.device)
        places = (torch.arange(dim, device=z.device) - turns[:, None]) % dim  # of z rolled by each turn
        rotated = z[:, places].view(batch * tries, dim)  # the candidates of an image in a row
        candidates = generator(rotated, self.constant.expand(batch * tries)).float()
        probabilities = self.solver(candidates).softmax(dim=1).view(batch, tries, -1)
        wanted = labels[:, None].expand(batch, tries)
        probability = probabilities.gather(2, wanted[:, :, None]).squeeze(2)
        right = probabilities.argmax(dim=2) == wanted
        value = probability + right  # a candidate of the right class beats all others
        # the first one that is right and sure enough would have ended the search
        ends = right & (probability >= self.confidence)
        value = torch.where(ends, 2.0 * (1 + tries - turns), value)
        return candidates[torch.arange(batch, device=z.device) * tries + value.argmax(dim=1)]
