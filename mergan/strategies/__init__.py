"""Continual strategies, one file each; conf/strategy/ names them. See base.py for what one can decide."""

from mergan.strategies.base import Context, Drawn, Strategy, TrainingBatch

__all__ = ["Context", "Drawn", "Strategy", "TrainingBatch"]
