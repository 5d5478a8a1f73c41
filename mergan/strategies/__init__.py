"""Continual strategies, one file each; conf/strategy/ names them. base.py defines their interface."""

from mergan.strategies.base import Asked, Context, Drawn, Strategy, TrainingBatch

__all__ = ["Asked", "Context", "Drawn", "Strategy", "TrainingBatch"]
