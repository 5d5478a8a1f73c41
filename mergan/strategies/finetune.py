"""Sequential fine-tuning: every task alone (the paper's SFT, V2's "online")."""

from mergan.strategies.base import Strategy


class Finetune(Strategy):
    """Keep training on the real images of the current task alone: the lower bound, it forgets."""
