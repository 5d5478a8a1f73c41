"""Kinds of streams, one file each: which classes are learned when. Every kind makes the same Scenario."""

from mergan.scenarios.base import Scenario, StreamKind, Task
from mergan.scenarios.classes import Classes

__all__ = ["Classes", "Scenario", "StreamKind", "Task"]
