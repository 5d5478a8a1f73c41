"""Continual strategies, one file each; conf/strategy/ names them. base.py defines their interface."""

from mergan.strategies.base import Asked, Context, Drawn, Strategy, TrainingBatch, Update

__all__ = ["Asked", "Context", "Drawn", "Strategy", "TrainingBatch", "Update"]
