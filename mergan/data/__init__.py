"""Images: where they come from (source), how they are stored (cache) and how a task gets them (loader)."""

from mergan.data.pixels import denormalise, normalise

__all__ = ["denormalise", "normalise"]
