"""Sequential fine-tuning: one task at a time (the paper's SFT, V2's "online")."""

from mergan.strategies.base import Strategy


class Finetune(Strategy):
    """Train only on the real images of the current task: the lower bound, which forgets."""
