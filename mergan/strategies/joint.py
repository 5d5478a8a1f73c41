"""Joint training: all classes at once (the paper's JT, V2's "offline")."""

from mergan.strategies.base import Strategy


class Joint(Strategy):
    """Train on the real images of all classes at once, so that nothing can be forgotten.

    conf/strategy/joint.yaml sets `scenario.joined`, which merges the stream into one task.
    """
