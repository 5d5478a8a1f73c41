"""Images: where they come from (sources), how they are kept (cache) and how a task gets them (loader)."""

from mergan.data.pixels import denormalise, normalise

__all__ = ["denormalise", "normalise"]
