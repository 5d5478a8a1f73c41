"""Joint training: all classes at once (the paper's JT, V2's "offline")."""

from mergan.strategies.base import Strategy


class Joint(Strategy):
    """Train on the real images of all classes: the upper bound, nothing can be forgotten.

    conf/strategy/joint.yaml sets `scenario.joined`, which makes one task of the whole stream.
    """
