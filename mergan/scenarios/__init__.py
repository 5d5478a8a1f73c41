"""Kinds of streams, one file each: they define which classes are learned when, as a Scenario."""

from mergan.scenarios.base import Scenario, StreamKind, Task
from mergan.scenarios.classes import Classes

__all__ = ["Classes", "Scenario", "StreamKind", "Task"]
