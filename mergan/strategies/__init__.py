"""Continual strategies, one file each; conf/strategy/ names them.

base.py defines their interface, context.py and batches.py define what they are given.
"""

from mergan.strategies.base import Strategy
from mergan.strategies.batches import Asked, Drawn, TrainingBatch, Update
from mergan.strategies.context import Context
from mergan.strategies.costs import Costs

__all__ = ["Asked", "Context", "Costs", "Drawn", "Strategy", "TrainingBatch", "Update"]
