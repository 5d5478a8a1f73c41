"""mergan: teach one conditional GAN new image classes task after task, and measure what it forgets."""

__version__ = "0.1.0"
