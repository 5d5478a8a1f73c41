"""Continual strategies, one file each; conf/strategy/ names them. See base.py for what one can decide."""

from mergan.strategies.base import Context, Drawn, RealBatch, Strategy

__all__ = ["Context", "Drawn", "RealBatch", "Strategy"]
